"""decide/autoscale: laws that hold for every rule and every load."""

from itertools import pairwise

from homeport_control.decide.autoscale import Memory, Standing, decide
from homeport_control.domain.scaling import LoadSample, Metric, Scale, ScalingRule
from hypothesis import given
from hypothesis import strategies as st

BEGIN_S = 1_000_000.0
Second = tuple[float, int, int] | None  # rps, in flight, held; None: not known


@st.composite
def rules(draw: st.DrawFn) -> ScalingRule:
    least = draw(st.integers(0, 5))
    return ScalingRule(
        metric=draw(st.sampled_from(Metric)),
        target=draw(st.sampled_from([0.5, 1.0, 3.0, 10.0, 100.0])),
        min=least,
        max=draw(st.integers(max(least, 1), 12)),
        scale_up_delay_s=draw(st.sampled_from([0.0, 1.0, 30.0])),
        scale_down_delay_s=draw(st.sampled_from([0.0, 5.0, 30.0])),
        window_s=draw(st.sampled_from([1.0, 5.0, 20.0])),
    )


LOUD = st.tuples(st.floats(0, 200), st.integers(0, 100), st.sampled_from([0, 0, 0, 1, 30]))
SECONDS = st.lists(st.one_of(st.none(), LOUD, st.just((0.0, 0, 0))), max_size=90)


def run(rule: ScalingRule, wanted: int, seconds: list[Second]) -> list[tuple[float, int, str]]:
    """(when, replicas, why) of each change; what is ordered serves at once."""
    samples: list[LoadSample] = []
    memory, changes = Memory(), []
    for number, second in enumerate(seconds, 1):
        now_s = BEGIN_S + number
        if second is not None:
            rps, in_flight, held = second
            samples.append(LoadSample(now_s, rps, in_flight, held if wanted == 0 else 0))
        known = tuple(samples) if second is not None else None
        decided = decide(rule, known, Standing(wanted, wanted, 0), memory, now_s)
        assert decided == decide(rule, known, Standing(wanted, wanted, 0), memory, now_s)
        memory = decided.memory
        assert len(memory.needs) <= rule.max + 1, "bounded"
        if isinstance(decided.verdict, Scale):
            assert decided.verdict.to != wanted, "a Scale changes something"
            wanted = decided.verdict.to
            changes.append((now_s, wanted, decided.verdict.because))
    return changes


@given(rules(), st.integers(0, 15), SECONDS)
def test_never_outside_the_range_and_every_change_says_why(
    rule: ScalingRule, wanted: int, seconds: list[Second]
) -> None:
    for _, to, because in run(rule, wanted, seconds):
        assert rule.min <= to <= rule.max
        assert because


@given(rules(), SECONDS, st.integers(1, 40))
def test_nothing_is_changed_by_what_is_not_known(rule: ScalingRule, seconds: list[Second], silent: int) -> None:
    quiet: list[Second] = [None] * silent
    assert [at_s for at_s, *_ in run(rule, rule.max, seconds + quiet) if at_s > BEGIN_S + len(seconds)] == []


@given(rules(), st.floats(0, 300), st.integers(0, 100), st.integers(1, 12))
def test_a_constant_load_comes_to_rest(rule: ScalingRule, rps: float, in_flight: int, wanted: int) -> None:
    """And at what it needs: within a change for the range, one at once or by the average, and one down."""
    load = rps if rule.metric is Metric.RPS else float(in_flight)
    changes = run(rule, wanted, [(rps, in_flight, 0)] * 200)
    ends = changes[-1][1] if changes else wanted
    assert ends * rule.target >= min(load, rule.max * rule.target) - 1e-6 * (1 + load)
    assert len(changes) <= 4
    assert [at_s for at_s, *_ in changes if at_s > BEGIN_S + 120] == []


@given(rules(), st.integers(0, 12), SECONDS)
def test_never_down_within_the_delay_after_a_change(rule: ScalingRule, wanted: int, seconds: list[Second]) -> None:
    changes = run(rule, wanted, seconds)
    for (before_s, before, _), (at_s, to, _) in pairwise(changes):
        if to < before:
            assert at_s - before_s >= rule.scale_down_delay_s


@given(rules(), st.floats(0, 100), st.floats(0, 100))
def test_more_load_never_orders_fewer(rule: ScalingRule, load: float, more: float) -> None:
    def ordered(value: float) -> int:
        samples = tuple(LoadSample(BEGIN_S - n, value, int(value)) for n in reversed(range(20)))
        verdict = decide(rule, samples, Standing(rule.min, rule.min, 0), Memory(), BEGIN_S).verdict
        return verdict.to if isinstance(verdict, Scale) else rule.min

    assert ordered(load) <= ordered(load + more)


@given(rules(), st.integers(1, 500))
def test_what_is_held_leaves_zero_at_once(rule: ScalingRule, held: int) -> None:
    sample = LoadSample(BEGIN_S, 0.0, 0, held)
    verdict = decide(rule, (sample,), Standing(0, 0, 0), Memory(changed_at_s=BEGIN_S), BEGIN_S).verdict
    assert isinstance(verdict, Scale)
    assert verdict.to >= 1
