"""load/lateness: how late a report comes, by how long the ones before it counted."""

import pytest
from homeport_control.load.lateness import DRIFT, Lateness


def test_what_comes_when_it_is_due_is_not_late() -> None:
    lateness = Lateness(9.0)
    assert [lateness.of(interval_s, at_s) for interval_s, at_s in ((1.0, 10.0), (1.0, 11.0), (2.5, 13.5))] == [0.0] * 3


def test_who_was_late_once_is_late_until_he_has_made_up_for_it() -> None:
    lateness, at_s = Lateness(-1.0), 0.0
    lateness.of(1.0, at_s)
    for _ in range(3):  # five seconds later each, from the next one on
        at_s += 1.0
        assert lateness.of(1.0, at_s + 5.0) == pytest.approx(5.0, abs=0.01)
    assert lateness.of(1.0, at_s + 1.0) == 0.0


def test_a_stream_that_is_slow_from_its_first_report_on_is_late_from_then_on() -> None:
    lateness = Lateness(100.0)
    assert [round(lateness.of(1.0, at_s), 1) for at_s in (103.5, 104.5, 105.5)] == [2.5, 2.5, 2.5]
    assert lateness.of(1.0, 104.0) == 0.0, "it is quick again"


def test_an_envoy_that_took_its_time_to_count_is_not_late() -> None:
    assert Lateness(100.0).of(8.0, 108.0) == 0.0


def test_the_quickest_one_is_what_is_usual() -> None:
    lateness = Lateness(9.0)
    assert lateness.of(1.0, 10.0) == 0.0
    assert lateness.of(1.0, 10.4) == 0.0, "quicker than the first one"
    assert lateness.of(1.0, 12.0) == pytest.approx(0.6, abs=0.01)


def test_clocks_that_differ_are_no_lateness() -> None:
    lateness = Lateness(-1.0)
    for number in range(100_000):
        late_s = lateness.of(1.0, number * (1.0 + DRIFT / 2))
    assert late_s == 0.0
