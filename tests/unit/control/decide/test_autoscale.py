"""decide/autoscale: what is measured against the rule, second by second."""

import pytest
from homeport_control.decide.autoscale import Decision, Memory, Standing, decide
from homeport_control.domain.scaling import Hold, LoadSample, Metric, Scale, ScalingRule

RPS = ScalingRule(Metric.RPS, 10, 1, 8, scale_up_delay_s=30, scale_down_delay_s=60, window_s=20)
SLEEPER = ScalingRule(Metric.CONCURRENCY, 2, 0, 4, scale_up_delay_s=30, scale_down_delay_s=60, window_s=20)


class Service:
    """Turns each second with one sample a second; what is ordered serves at once."""

    def __init__(self, rule: ScalingRule, wanted: int) -> None:
        self.rule, self.wanted = rule, wanted
        self.now_s = 1000.0
        self.samples: list[LoadSample] = []
        self.memory = Memory()
        self.scaled: list[tuple[float, int]] = []

    def second(self, rps: float = 0.0, in_flight: int = 0, held: int = 0, *, known: bool = True) -> Decision:
        self.now_s += 1
        if known:
            self.samples.append(LoadSample(self.now_s, rps, in_flight, held))
        given = tuple(self.samples) if known else None
        decided = decide(self.rule, given, Standing(self.wanted, self.wanted, 0), self.memory, self.now_s)
        self.memory = decided.memory
        if isinstance(decided.verdict, Scale):
            self.wanted = decided.verdict.to
            self.scaled.append((self.now_s - 1000, decided.verdict.to))
        return decided

    def seconds(self, number: int, **load: float) -> Decision:
        for _ in range(number):
            decided = self.second(**load)  # type: ignore[arg-type]
        return decided


def test_enough_replicas_are_held_with_the_numbers() -> None:
    decided = Service(RPS, 3).seconds(20, rps=25)
    assert decided.verdict == Hold("25 rps over 20 s need 3 replicas of 10 each; 3 wanted, 3 serving")


def test_up_by_the_average_of_the_window() -> None:
    service = Service(RPS, 2)
    service.seconds(20, rps=19)
    service.seconds(20, rps=27)
    assert [to for _, to in service.scaled] == [3]


def test_up_waits_for_the_delay_after_the_last_change_and_says_so() -> None:
    service = Service(RPS, 2)
    service.seconds(20, rps=24)
    assert [to for _, to in service.scaled] == [3]
    changed_s = service.scaled[0][0] + 1000
    while service.now_s < changed_s + 29:
        decided = service.second(rps=36)
    assert "would go from 3 to 4 in 1 s" in decided.verdict.because
    service.seconds(11, rps=36)
    assert service.scaled[1:] == [(changed_s - 1000 + 30, 4)]


def test_far_above_is_answered_at_once_whatever_the_delay() -> None:
    service = Service(RPS, 1)
    service.seconds(20, rps=5)
    service.second(rps=80)
    service.second(rps=80)
    assert [to for _, to in service.scaled][-1] == 8
    assert service.scaled[-1][0] <= 22
    service.seconds(100, rps=80)
    assert [to for _, to in service.scaled][-1] == 8, "the same load orders once"


def test_one_loud_second_is_no_trend() -> None:
    service = Service(RPS, 2)
    service.seconds(20, rps=15)
    service.second(rps=50)
    service.seconds(20, rps=15)
    assert service.scaled == []


def test_the_range_is_the_most() -> None:
    service = Service(RPS, 8)
    decided = service.seconds(40, rps=500)
    assert service.scaled == []
    assert "need 50 replicas of 10 each (the range ends at 8)" in decided.verdict.because


def test_down_after_the_delay_to_the_highest_need_in_it() -> None:
    service = Service(RPS, 5)
    service.seconds(60, rps=45)
    service.seconds(40, rps=12)
    service.seconds(20, rps=28)  # in the delay: three are needed then
    service.seconds(60, rps=5)
    assert [to for _, to in service.scaled] == [3]
    service.seconds(80, rps=5)
    assert [to for _, to in service.scaled] == [3, 1]
    assert service.scaled[1][0] - service.scaled[0][0] >= 60


def test_one_quiet_second_changes_nothing() -> None:
    service = Service(RPS, 3)
    for _ in range(30):
        service.seconds(5, rps=30)
        service.second(rps=0)
    assert service.scaled == []


def test_down_says_how_long_it_waits() -> None:
    service = Service(RPS, 3)
    service.seconds(60, rps=30)
    decided = service.seconds(30, rps=5)
    assert "would go from 3 to 1" in decided.verdict.because
    assert "s of steady low load left" in decided.verdict.because


@pytest.mark.parametrize("number", [1, 50])
def test_what_is_not_known_changes_nothing(number: int) -> None:
    service = Service(RPS, 5)
    service.seconds(60, rps=45)
    for _ in range(number):
        decided = service.second(known=False)
    assert decided.verdict == Hold("no load is known: 5 replicas as before")
    service.seconds(59, rps=5)
    assert service.scaled == [], "a whole delay must be known anew"


def test_the_newest_sample_must_be_of_now() -> None:
    old = (LoadSample(1000.0, 500, 500),)
    decided = decide(RPS, old, Standing(1, 1, 0), Memory(), 1005.0)
    assert decided.verdict == Hold("no load is known: 1 replica as before")


def test_a_changed_range_is_obeyed_at_once() -> None:
    decided = decide(RPS, None, Standing(12, 12, 0), Memory(changed_at_s=999.0), 1000.0)
    assert decided.verdict == Scale(8, "12 wanted, and the range is 1..8")


def test_to_zero_after_a_quiet_delay_only() -> None:
    service = Service(SLEEPER, 1)
    service.seconds(30, in_flight=1)
    service.seconds(79)
    assert service.scaled == []
    service.seconds(3)
    assert [to for _, to in service.scaled] == [0]


def test_a_stream_that_runs_keeps_the_last_replica_awake() -> None:
    by_rps = ScalingRule(Metric.RPS, 10, 0, 4, 30, 60, 20)
    service = Service(by_rps, 1)
    decided = service.seconds(300, rps=0, in_flight=1)
    assert service.scaled == []
    assert isinstance(decided.verdict, Hold)
    service.seconds(1)
    assert service.scaled == [(301.0, 0)]


def test_from_zero_as_soon_as_a_request_is_held() -> None:
    service = Service(SLEEPER, 0)
    decided = service.seconds(10)
    assert decided.verdict == Hold("scaled to zero; the first request starts a replica")
    service.second(rps=1, held=1)
    assert service.scaled == [(11.0, 1)]


def test_from_zero_to_what_is_held() -> None:
    service = Service(SLEEPER, 0)
    service.seconds(10)
    service.second(rps=500, held=500)
    assert service.scaled == [(11.0, 4)]


def test_from_zero_though_no_gateway_reports() -> None:
    decided = decide(SLEEPER, (LoadSample(990.0, 0, 0, 3),), Standing(0, 0, 0), Memory(), 1000.0)
    assert isinstance(decided.verdict, Scale)


def test_what_starts_is_ordered_already() -> None:
    held = tuple(LoadSample(1000.0 + n, 0, 0, 3) for n in range(20))
    decided = decide(SLEEPER, held, Standing(2, 0, 2), Memory(changed_at_s=1000.0), 1020.0)
    assert isinstance(decided.verdict, Hold)
    assert "2 wanted, 0 serving, 2 to come" in decided.verdict.because


def test_a_clock_that_was_set_back_begins_anew() -> None:
    service = Service(RPS, 3)
    service.seconds(60, rps=30)
    service.now_s -= 3600
    service.samples.clear()
    decided = service.seconds(20, rps=1)
    assert service.scaled == []
    assert isinstance(decided.verdict, Hold)
