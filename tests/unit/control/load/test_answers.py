"""load/answers: classes and latencies of the last seconds, over all gateways, and when nothing is known."""

import math

import pytest
from homeport_control.domain.metrics import AnswerCount, AnswerReport, Answers
from homeport_control.load.answers import SILENT_S, WINDOW_S, RecentAnswers, quantile

INF = math.inf


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(at_s: float, *counts: AnswerCount, gateway: str = "main", interval_s: float = 1.0) -> AnswerReport:
    return AnswerReport(gateway, at_s, interval_s, counts)


def hello(*by_class: int, below_ms: tuple[tuple[float, int], ...] = ()) -> AnswerCount:
    return AnswerCount("hello", by_class, below_ms)


def test_classes_are_per_second_over_the_window_and_added_over_gateways() -> None:
    recent = RecentAnswers(Clock())
    recent.take(report(99.0 - WINDOW_S, hello(0, 1000, 0, 0, 0)))
    recent.take(report(99.0, hello(0, 8, 0, 2, 0), AnswerCount("other", (0, 9, 9, 9, 9))))
    recent.take(report(100.0, hello(0, 12, 0, 0, 4)))
    recent.take(report(100.0, hello(0, 0, 0, 0, 2), gateway="second"))
    assert recent.of("hello") == Answers((0.0, 10.0, 0.0, 1.0, 4.0))
    assert recent.of("nobody") == Answers()


def test_a_report_in_two_messages_is_of_one_interval() -> None:
    recent = RecentAnswers(Clock())
    recent.take(report(100.0, hello(0, 8, 0, 0, 0)))
    recent.take(report(100.0, AnswerCount("other", (0, 4, 0, 0, 0)), interval_s=0.0))
    assert (recent.of("hello"), recent.of("other")) == (Answers((0, 8, 0, 0, 0)), Answers((0, 4, 0, 0, 0)))


def test_latencies_are_of_all_gateways_answers_together() -> None:
    recent = RecentAnswers(Clock())
    recent.take(report(100.0, hello(0, 99, 0, 0, 0, below_ms=((1, 0), (10, 99), (100, 99), (INF, 99)))))
    recent.take(report(100.0, hello(0, 1, 0, 0, 0, below_ms=((1, 0), (10, 0), (100, 1), (INF, 1))), gateway="second"))
    found = recent.of("hello")
    assert found is not None
    assert (found.p50_ms, found.p99_ms) == (pytest.approx(1 + 9 * 50 / 99), 10.0)


def test_quantiles_are_within_their_bucket_and_of_nothing_there_are_none() -> None:
    below = [(1.0, 50), (2.0, 100), (INF, 100)]
    assert [quantile(below, share) for share in (0.25, 0.5, 0.75, 1.0)] == [0.5, 1.0, 1.5, 2.0]
    assert quantile([(1.0, 0), (INF, 4)], 0.5) == 1.0, "above the last bound nothing more is known"
    assert quantile([], 0.5) is None
    assert quantile([(1.0, 0), (INF, 0)], 0.5) is None


def test_silence_is_not_zero() -> None:
    clock = Clock()
    recent = RecentAnswers(clock)
    assert recent.of("hello") is None
    recent.take(report(100.0, hello(0, 8, 0, 0, 0)))
    clock.now_s += SILENT_S + 0.1
    assert recent.of("hello") is None
    recent.take(report(clock.now_s))
    assert recent.of("hello") == Answers(), "what it said before its silence is forgotten"
    recent.forgotten("main")
    assert recent.of("hello") is None
