"""What each service's requests were answered since this server began to count, at each gateway: numbers that only grow.

Covers adding up, and the newest figures of each Envoy. Does not cover what is shown of it (metrics), nor what is now (answers).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from homeport_control.domain.metrics import CLASSES, AnswerReport, EnvoyFigures

SILENT_S = 5.0  # a gateway that has said nothing for so long is not there now
MOST = 20_000  # services at gateways; what was quiet for longest goes first


@dataclass(slots=True)
class Total:
    """One service at one gateway."""

    by_class: list[int] = field(default_factory=lambda: [0] * CLASSES)  # answers 1xx to 5xx
    within_ms: dict[float, int] = field(default_factory=dict)  # by upper bound: answers of that bucket alone
    sum_ms: float = 0.0  # of all their times, each taken as the middle of its bucket

    def add_times(self, below_ms: tuple[tuple[float, int], ...]) -> None:
        low, below = 0.0, 0
        for bound, count in below_ms:
            inside = count - below
            self.within_ms[bound] = self.within_ms.get(bound, 0) + inside
            self.sum_ms += inside * (low if bound == float("inf") else (low + bound) / 2)
            low, below = bound, count


class Totals:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._totals: dict[tuple[str, str], Total] = {}  # by gateway and service, the last that was counted last
        self._envoys: dict[str, tuple[float, EnvoyFigures]] = {}  # by gateway: when it said them

    def take(self, report: AnswerReport) -> None:
        if report.interval_s or report.gateway not in self._envoys:
            self._envoys[report.gateway] = report.received_at_s, report.envoy
        for count in report.counts:
            key = (report.gateway, count.service)
            total = self._totals.pop(key) if key in self._totals else Total()
            self._totals[key] = total
            total.by_class = [before + now for before, now in zip(total.by_class, count.by_class, strict=True)]
            total.add_times(count.below_ms)
        while len(self._totals) > MOST:
            del self._totals[next(iter(self._totals))]

    def forgotten(self, gateway: str) -> None:
        """It is no more, or stands elsewhere now."""
        self._envoys.pop(gateway, None)
        self._totals = {key: it for key, it in self._totals.items() if key[0] != gateway}

    def of_services(self) -> dict[tuple[str, str], Total]:
        """By gateway and service."""
        return self._totals

    def envoys(self) -> dict[str, EnvoyFigures]:
        """Of gateways that say something now."""
        now_s = self._clock()
        return {name: it for name, (at_s, it) in self._envoys.items() if now_s - at_s <= SILENT_S}
