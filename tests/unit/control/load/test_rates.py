"""load/rates: requests per second over the last reports, and when nothing is known."""

from homeport_control.domain.gateway import EndpointLoad, LoadReport
from homeport_control.domain.metrics import RequestRate
from homeport_control.load.rates import STALE_S, WINDOW_REPORTS, Rates

A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(at_s: float, *loads: tuple[int, int, int], gateway: str = "local", interval_s: float = 1.0) -> LoadReport:
    """(port, issued, in flight) of each endpoint of hello."""
    found = tuple(EndpointLoad("hello", "127.0.0.1", port, busy, issued) for port, issued, busy in loads)
    return LoadReport(gateway, at_s, (*found, EndpointLoad("other", "127.0.0.1", 9, 1, 1000)), interval_s)


def test_requests_are_averaged_over_the_last_reports_and_in_flight_is_the_last_ones() -> None:
    clock = Clock()
    rates = Rates(clock)
    rates.take(report(98.0, (1, 1000, 50)))
    for number in range(WINDOW_REPORTS - 1):
        rates.take(report(98.5 + number / 4, (1, 10, 5), interval_s=0.5))
    rates.take(report(100.0, (2, 6, 2), interval_s=1.0))
    seconds = 0.5 * (WINDOW_REPORTS - 1) + 1
    assert rates.of("hello") == {
        A: RequestRate(10 * (WINDOW_REPORTS - 1) / seconds, 0),
        B: RequestRate(6 / seconds, 2),
    }
    assert rates.of("nobody") == {}


def test_several_gateways_are_added() -> None:
    rates = Rates(Clock())
    rates.take(report(100.0, (1, 3, 1)))
    rates.take(report(100.0, (1, 4, 2), gateway="second"))
    assert rates.of("hello") == {A: RequestRate(7.0, 3)}


def test_a_gateway_that_is_silent_says_nothing_about_now() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert rates.of("hello") is None
    rates.take(report(100.0, (1, 3, 1)))
    clock.now_s += STALE_S + 0.1
    assert rates.of("hello") is None
    rates.take(report(clock.now_s, (1, 1, 0)))
    assert rates.of("hello") == {A: RequestRate(1.0, 0)}, "what it said before its silence is forgotten"
