"""metrics/families: the text is what Prometheus' own parser reads, whatever stands in a label."""

from homeport_control.metrics.families import Gauges, counter, histogram, text
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=12)


def samples(page: bytes) -> list[tuple[str, dict[str, str], float]]:
    found = text_string_to_metric_families(page.decode())
    return [(it.name, it.labels, it.value) for family in found for it in family.samples]


@given(LABELS, st.floats(allow_nan=False))
def test_any_label_and_any_value_are_read_as_they_were(label: str, value: float) -> None:
    gauges = Gauges("homeport", ("name",), {"one": "A help\nof two lines.", "other": "Nothing."})
    gauges.add((label,), one=value, other=None)
    assert samples(text(gauges.families)) == [("homeport_one", {"name": label}, value)]


def test_a_counter_gets_its_ending() -> None:
    assert samples(text([counter("turns", "Turns.", ("loop",), [(("runs",), 3)])])) == [
        ("turns_total", {"loop": "runs"}, 3)
    ]


def test_a_histograms_buckets_hold_those_below_and_its_count_is_that_of_all() -> None:
    family = histogram("s", "Seconds.", ("run",), [(("a",), {0.01: 4, float("inf"): 2}, 1.5), (("b",), {}, 0.0)])
    assert samples(text([family])) == [
        ("s_bucket", {"run": "a", "le": "0.01"}, 4),
        ("s_bucket", {"run": "a", "le": "+Inf"}, 6),
        ("s_sum", {"run": "a"}, 1.5),
        ("s_count", {"run": "a"}, 6),
        ("s_bucket", {"run": "b", "le": "+Inf"}, 0),
        ("s_sum", {"run": "b"}, 0),
        ("s_count", {"run": "b"}, 0),
    ]
