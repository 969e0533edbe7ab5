"""Requests per second at each endpoint, over the last few load reports of each gateway.

Covers a short memory of numbers for who looks at them now. Does not cover what is decided on them (the loops).
"""

from collections import deque
from collections.abc import Callable

from homeport_control.domain.gateway import LoadReport
from homeport_control.domain.metrics import RequestRate

WINDOW_REPORTS = 5  # one a second: long enough to be read, short enough to be now
STALE_S = 5.0  # a gateway that has not reported for so long says nothing about now

Address = tuple[str, int]
Reports = deque[LoadReport]


class Rates:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gateways: dict[str, Reports] = {}

    def take(self, report: LoadReport) -> None:
        """Remember a report; those before a silence of its gateway are forgotten."""
        reports = self._gateways.setdefault(report.gateway, deque(maxlen=WINDOW_REPORTS))
        if reports and report.received_at_s - reports[-1].received_at_s > STALE_S:
            reports.clear()
        reports.append(report)

    def of(self, service: str) -> dict[Address, RequestRate] | None:
        """By endpoint; one that is not in it is idle. None: no gateway reports now, so nothing is known."""
        now_s = self._clock()
        current = [reports for reports in self._gateways.values() if now_s - reports[-1].received_at_s <= STALE_S]
        if not current:
            return None
        found: dict[Address, RequestRate] = {}
        for reports in current:
            for address, rate in _of_gateway(reports, service).items():
                other = found.get(address, RequestRate(0.0, 0))
                found[address] = RequestRate(
                    other.requests_per_s + rate.requests_per_s, other.in_flight + rate.in_flight
                )
        return found


def _of_gateway(reports: Reports, service: str) -> dict[Address, RequestRate]:
    issued: dict[Address, int] = {}
    for report in reports:
        for load in report.endpoints:
            if load.service == service:
                address = (load.address, load.port)
                issued[address] = issued.get(address, 0) + load.issued
    in_flight = {(load.address, load.port): load.in_flight for load in reports[-1].endpoints if load.service == service}
    seconds = sum(report.interval_s for report in reports)
    return {address: RequestRate(count / seconds, in_flight.get(address, 0)) for address, count in issued.items()}
