"""What each service's requests were answered, and in which time, over the last few seconds of each gateway.

Covers a short memory of numbers for who looks at them now. Does not cover where they come from (stats).
"""

from collections import deque
from collections.abc import Callable, Iterable

from homeport_control.domain.metrics import CLASSES, AnswerCount, AnswerReport, Answers

WINDOW_S = 5.0  # long enough to be read, short enough to be now
MOST_REPORTS = 64  # of one gateway within it; Envoy sends one a second
SILENT_S = 5.0  # a gateway that has said nothing for so long says nothing about now


class RecentAnswers:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gateways: dict[str, deque[AnswerReport]] = {}

    def take(self, report: AnswerReport) -> None:
        reports = self._gateways.setdefault(report.gateway, deque(maxlen=MOST_REPORTS))
        reports.append(report)
        while report.received_at_s - reports[0].received_at_s >= WINDOW_S:
            reports.popleft()

    def forgotten(self, gateway: str) -> None:
        """It is no more, or stands elsewhere now."""
        self._gateways.pop(gateway, None)

    def of(self, service: str) -> Answers | None:
        """None: no gateway says anything now."""
        now_s = self._clock()
        current = [it for it in self._gateways.values() if now_s - it[-1].received_at_s <= SILENT_S]
        if not current:
            return None
        per_s = [0.0] * CLASSES
        found: list[AnswerCount] = []
        for reports in current:
            seconds = sum(it.interval_s for it in reports) or 1.0
            mine = [count for it in reports for count in it.counts if count.service == service]
            found += mine
            per_s = [rate + sum(it.by_class[at] for it in mine) / seconds for at, rate in enumerate(per_s)]
        below = _sum(it.below_ms for it in found)
        return Answers(tuple(per_s), quantile(below, 0.5), quantile(below, 0.99))


def _sum(histograms: Iterable[tuple[tuple[float, int], ...]]) -> list[tuple[float, int]]:
    """All Envoys have the same bounds; of one with others (an older build) each bound is a bound still."""
    inside: dict[float, int] = {}
    for histogram in histograms:
        below = 0
        for bound, count in histogram:
            inside[bound] = inside.get(bound, 0) + count - below
            below = count
    total, rising = 0, []
    for bound in sorted(inside):
        total += inside[bound]
        rising.append((bound, total))
    return rising


def quantile(below: list[tuple[float, int]], share: float) -> float | None:
    """Within a bucket it is taken as spread evenly; above the last bound, as that bound. None: of nothing."""
    if not below or not below[-1][1]:
        return None
    wanted = share * below[-1][1]
    low, low_count = 0.0, 0
    for bound, count in below:
        if count >= wanted and count > low_count:
            return low if bound == float("inf") else low + (bound - low) * (wanted - low_count) / (count - low_count)
        low, low_count = bound, count
    return low
