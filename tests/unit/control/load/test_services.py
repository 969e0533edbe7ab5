"""load/services: a service's load by the second over all gateways, what is idle and what is not known."""

from homeport_control.domain.gateway import EndpointLoad, LoadReport
from homeport_control.domain.scaling import LoadSample
from homeport_control.load.services import KEPT_S, LONGEST_S, MOST_HOLES, SILENT_S, ServiceLoads


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(at_s: float, *loads: tuple[int, int], gateway: str = "main", interval_s: float = 1.0) -> LoadReport:
    """(issued, in flight) of each endpoint of hello."""
    found = tuple(EndpointLoad("hello", "10.0.0.1", port, busy, issued) for port, (issued, busy) in enumerate(loads))
    return LoadReport(gateway, at_s, found, interval_s)


def reported(*reports: LoadReport) -> ServiceLoads:
    loads = ServiceLoads(Clock())
    for each in reports:
        loads.take(each)
    return loads


def test_a_second_is_the_sum_of_its_endpoints_and_idle_is_zero() -> None:
    loads = reported(report(100.0), report(101.0, (7, 2), (3, 1)), report(102.0), report(103.0, (0, 4)))
    assert loads.samples("hello", 103.0, 60.0) == (
        LoadSample(100.0, 0.0, 0),
        LoadSample(101.0, 10.0, 3),
        LoadSample(102.0, 0.0, 0),
        LoadSample(103.0, 0.0, 4),
    )
    assert loads.samples("hello", 103.0, 2.0) == (LoadSample(102.0, 0.0, 0), LoadSample(103.0, 0.0, 4))
    idle = tuple(LoadSample(100.0 + second, 0.0, 0) for second in range(4))
    assert loads.samples("other", 103.0, 60.0) == idle, "in no report: idle"


def test_reports_between_seconds_are_shared_out_and_the_newest_says_what_was_said_last() -> None:
    loads = reported(report(100.25), report(101.25, (8, 1)), report(102.25, (16, 2)))
    assert loads.samples("hello", 102.5, 60.0) == (
        LoadSample(101.0, 8 * 0.75, 1),
        LoadSample(102.0, 8 * 0.25 + 16 * 0.75, 2),
        LoadSample(102.25, 16.0, 2),
    )


def test_gateways_are_added_and_a_second_waits_for_all_of_them() -> None:
    loads = reported(report(100.0), report(100.5, gateway="other"), report(101.0, (4, 1)))
    loads.take(report(101.5, (6, 2), gateway="other"))
    loads.take(report(102.0, (4, 1)))
    assert loads.samples("hello", 102.0, 60.0) == (
        LoadSample(101.0, 4 + 3.0, 3),
        LoadSample(101.5, 4 + 6.0, 3),
    )


def test_nothing_is_known_before_a_report_and_after_a_silence() -> None:
    loads = ServiceLoads(Clock())
    assert loads.samples("hello", 100.0, 60.0) is None
    for second in range(3):
        loads.take(report(100.0 + second, (5, 1)))
        loads.take(report(100.0 + second, (5, 1), gateway="other"))
    loads.take(report(103.0, (5, 1)))
    assert loads.samples("hello", 102.0 + SILENT_S, 60.0) is not None
    assert loads.samples("hello", 102.1 + SILENT_S, 60.0) is None, "one of the two is silent"
    for second in range(104, 108):
        loads.take(report(float(second), (5, 1)))
    assert loads.samples("hello", 107.0, 60.0) is None
    loads.take(report(107.0, (5, 1), gateway="other"))
    assert loads.samples("hello", 107.0, 60.0) == (
        LoadSample(101.0, 10.0, 2),
        LoadSample(102.0, 10.0, 2),
        LoadSample(107.0, 10.0, 2),
    ), "the seconds of its silence are missing, not half"


def test_of_a_gateway_that_is_forgotten_no_word_is_awaited() -> None:
    loads = reported(*(report(100.0 + second, (5, 1), gateway=name) for second in (0, 1) for name in ("a", "b")))
    loads.take(report(102.0, (5, 1), gateway="a"))
    loads.take(report(105.0, (15, 1), gateway="a", interval_s=3.0))
    assert loads.samples("hello", 105.0, 60.0) is None
    loads.forgotten("b")
    assert loads.samples("hello", 105.0, 60.0) == (
        LoadSample(100.0, 5.0, 1),
        LoadSample(101.0, 10.0, 2),
        LoadSample(105.0, 5.0, 1),
    ), "what it would have said is missing"
    loads.take(report(106.0, (5, 1), gateway="a"))
    assert loads.samples("hello", 106.0, 1.5) == (LoadSample(106.0, 5.0, 1),)
    loads.forgotten("a")
    assert loads.samples("hello", 105.0, 1.5) is None
    loads.forgotten("nobody")


def test_a_gateway_that_is_silent_costs_only_what_it_carries() -> None:
    carried = {"hello": frozenset({"main"}), "far": frozenset({"other"})}
    loads = ServiceLoads(Clock(), carried.__getitem__)
    for second in range(3):
        loads.take(report(100.0 + second, (5, 1)))
        loads.take(report(100.0 + second, (0, 1), gateway="other"))
    for second in range(103, 110):
        loads.take(report(float(second), (7, 2)))
        if second > 105:
            assert loads.samples("far", second, 60.0) is None
            assert loads.samples("hello", second, 1.0) == (LoadSample(float(second), 7.0, 2),)
    loads.take(report(109.5, gateway="other"))
    for second in (110, 111):
        loads.take(report(second, (7, 2)))
        loads.take(report(second + 0.5, gateway="other"))
    far, hello = loads.samples("far", 111.5, 60.0), loads.samples("hello", 111.5, 60.0)
    assert far is not None
    assert hello is not None
    assert [it.at_s for it in far] == [101.0, 102.0, 110.0, 111.0], "its silence is missing"
    assert [it.at_s for it in hello] == [100.0 + it for it in range(12)]


def test_what_a_gateway_carries_is_not_idle_when_the_server_starts_and_has_not_heard_it() -> None:
    carried = {"hello": frozenset({"main"}), "far": frozenset({"other"})}
    loads = ServiceLoads(Clock(), carried.__getitem__)
    for name in ("main", "other", "deleted"):
        loads.awaited(name)
    assert loads.samples("hello", 100.0, 60.0) is None
    loads.forgotten("deleted")
    for second in (100.0, 101.0):
        loads.take(report(second, (5, 1)))
    assert loads.samples("hello", 101.0, 1.0) == (LoadSample(101.0, 5.0, 1),)
    assert loads.samples("far", 101.0, 60.0) is None
    for second in (101.0, 102.0):
        loads.take(report(second, gateway="other"))
        loads.take(report(second + 1, (5, 1)))
    loads.awaited("other")
    assert loads.samples("far", 103.0, 60.0) == (LoadSample(102.0, 0.0, 0),)


def test_of_a_gateway_that_is_silent_again_and_again_little_is_kept() -> None:
    loads = ServiceLoads(Clock())
    for second in range(995):
        loads.take(report(float(second), (5, 1)))
        loads.samples("hello", second, LONGEST_S)
        if second % 10 < 5:
            loads.take(report(float(second), (5, 1), gateway="other"))
    samples = loads.samples("hello", 994.0, LONGEST_S)
    assert samples is not None
    assert {it.rps for it in samples} == {10.0}
    assert 4 * MOST_HOLES <= len(samples) < 4 * 99


def test_held_requests_are_load_at_once_even_when_no_gateway_reports_yet() -> None:
    clock = Clock()
    loads = ServiceLoads(clock)
    clock.now_s = 100.5
    loads.on_held("hello", 1)
    loads.on_held("hello", 2)
    assert loads.held("hello") == 2
    assert loads.samples("hello", 100.5, 60.0) == (LoadSample(100.5, 2.0, 0, 2),)
    assert loads.samples("other", 100.5, 60.0) is None
    loads.on_held("hello", 0)
    assert loads.samples("hello", 100.6, 60.0) is None
    assert loads.held("hello") == 0


def test_held_requests_are_in_the_second_in_which_they_began_and_in_each_that_they_wait() -> None:
    clock = Clock()
    loads = ServiceLoads(clock)
    loads.take(report(100.0))
    loads.take(report(101.0))
    for held, clock.now_s in ((1, 101.2), (2, 101.4), (1, 101.6), (2, 101.8)):
        loads.on_held("hello", held)
    newest = loads.samples("hello", 101.8, 0.7)
    assert newest == (LoadSample(101.8, 3.0, 0, 2),)
    loads.take(report(102.0))
    loads.take(report(103.0))
    clock.now_s = 103.5
    loads.on_held("hello", 0)
    loads.take(report(104.0, (2, 2)))
    assert loads.samples("hello", 104.0, 60.0) == (
        LoadSample(100.0, 0.0, 0),
        LoadSample(101.0, 0.0, 0),
        LoadSample(102.0, 3.0, 0, 2),
        LoadSample(103.0, 0.0, 0, 2),
        LoadSample(104.0, 2.0, 2, 0),
    )


def test_what_is_kept_is_bounded_by_the_longest_window_that_was_asked() -> None:
    loads = ServiceLoads(Clock())
    for second in range(200):
        loads.take(report(float(second), (1, 0)))
    short = loads.samples("hello", 199.0, KEPT_S)
    assert short is not None
    assert [it.rps for it in short] == [1.0] * int(KEPT_S)
    loads.samples("hello", 199.0, 2 * LONGEST_S)
    for second in range(200, 5000):
        loads.take(report(float(second), (1, 0)))
    long = loads.samples("hello", 4999.0, 2 * LONGEST_S)
    assert long is not None
    assert [it.rps for it in long] == [1.0] * int(LONGEST_S)
    for second in range(5000, 9000):
        loads.take(report(float(second)))
    assert not loads._busy, "a service that is gone is forgotten"


def test_what_is_forgotten_is_not_idle() -> None:
    loads = ServiceLoads(Clock())
    for second in range(600):
        loads.take(report(float(second), (1, 0) if second < 300 else (0, 0)))
    samples = loads.samples("hello", 599.0, LONGEST_S)
    assert samples is not None
    assert [it.at_s for it in samples] == [float(it) for it in range(300, 600)]


def test_two_reports_at_once_after_a_pause_of_the_server_lose_nothing() -> None:
    loads = reported(report(100.0), report(102.5, (10, 1)), report(102.5, (20, 2)), report(104.0))
    samples = loads.samples("hello", 104.0, 60.0)
    assert samples is not None
    assert sum(it.rps for it in samples) == 30.0


def test_a_clock_that_is_set_back_leaves_no_seconds_of_the_future() -> None:
    loads = reported(report(100.0, (1, 1)), report(101.0, (1, 1)), report(50.0, (2, 2)), report(51.0, (2, 2)))
    assert loads.samples("hello", 51.0, 60.0) == (LoadSample(50.0, 2.0, 2), LoadSample(51.0, 2.0, 2))
