"""load/totals: counts only grow, per gateway and service; an Envoy that is silent has no figures."""

import math

from homeport_control.domain.metrics import AnswerCount, AnswerReport, EnvoyFigures
from homeport_control.load import totals as module
from homeport_control.load.totals import SILENT_S, Totals

INF = math.inf


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(
    *counts: AnswerCount, gateway: str = "main", interval_s: float = 1.0, connections: int | None = None
) -> AnswerReport:
    return AnswerReport(gateway, 100.0, interval_s, counts, EnvoyFigures(connections))


def test_answers_and_their_times_add_up() -> None:
    totals = Totals(Clock())
    below = ((10.0, 2), (20.0, 3), (INF, 4))
    for _ in range(2):
        totals.take(report(AnswerCount("web", (0, 3, 0, 0, 1), below)))
    totals.take(report(AnswerCount("web", (0, 5, 0, 0, 0)), gateway="second"))
    found = totals.of_services()
    assert found["main", "web"].by_class == [0, 6, 0, 0, 2]
    assert found["main", "web"].within_ms == {10.0: 4, 20.0: 2, INF: 2}
    assert found["main", "web"].sum_ms == 2 * (2 * 5 + 15 + 20)
    assert found["second", "web"].by_class == [0, 5, 0, 0, 0]


def test_the_second_part_of_a_report_says_nothing_of_the_envoy() -> None:
    totals = Totals(Clock())
    totals.take(report(connections=3))
    totals.take(report(interval_s=0.0))
    assert totals.envoys() == {"main": EnvoyFigures(3)}


def test_a_silent_envoy_has_no_figures_and_one_that_is_gone_has_nothing() -> None:
    clock = Clock()
    totals = Totals(clock)
    totals.take(report(AnswerCount("web", (0, 1, 0, 0, 0)), connections=3))
    clock.now_s += SILENT_S + 1
    assert totals.envoys() == {}
    assert totals.of_services()
    totals.forgotten("main")
    assert not totals.of_services()


def test_what_was_quiet_for_longest_goes_first(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "MOST", 2)
    totals = Totals(Clock())
    for name in ("a", "b", "a", "c"):
        totals.take(report(AnswerCount(name, (0, 1, 0, 0, 0))))
    assert sorted(totals.of_services()) == [("main", "a"), ("main", "c")]
