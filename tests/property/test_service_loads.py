"""load/services: whatever the gateways' reports and the held requests are, no request is counted twice or lost."""

import pytest
from homeport_control.domain.gateway import EndpointLoad, LoadReport
from homeport_control.load.services import SILENT_S, ServiceLoads
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("hello", "other")
Report = tuple[float, tuple[int, ...]]  # (seconds since the gateway's last, issued of each service)

reports = st.lists(
    st.tuples(st.floats(0.0, SILENT_S - 0.01), st.tuples(st.integers(0, 1000), st.integers(0, 1000))), max_size=30
)
steps = st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from(NAMES), st.integers(0, 5)), max_size=30)


def at(gateway: str, at_s: float, counts: tuple[int, ...] = (0, 0)) -> LoadReport:
    loads = tuple(EndpointLoad(name, "10.0.0.1", 1, 0, count) for name, count in zip(NAMES, counts, strict=True))
    return LoadReport(gateway, at_s, loads)


@given(st.lists(reports, min_size=1, max_size=3), steps)
def test_sums_are_conserved(gateways: list[list[Report]], held: list[tuple[float, str, int]]) -> None:
    events: list[tuple[float, str, tuple[int, ...] | int]] = []
    for number, given_reports in enumerate(gateways):
        at_s = 1000.0
        for pause_s, counts in given_reports:
            at_s += pause_s
            events.append((at_s, f"g{number}", counts))
    at_s = 1000.0
    for pause_s, name, count in held:
        at_s += pause_s
        events.append((at_s, name, count))
    events.sort(key=lambda it: it[0])
    now_s = 1000.0
    last = {f"g{number}": 1000.0 for number in range(len(gateways))}
    loads = ServiceLoads(lambda: now_s)
    for gateway in last:
        loads.take(at(gateway, now_s))

    def nobody_is_silent() -> None:
        for gateway in last:
            while now_s - last[gateway] > 2.0:
                last[gateway] += 1.0
                loads.take(at(gateway, last[gateway]))

    expected = dict.fromkeys(NAMES, 0)
    for now_s, who, what in events:
        nobody_is_silent()
        if isinstance(what, int):
            expected[who] += max(0, what - loads.held(who))
            loads.on_held(who, what)
        else:
            loads.take(at(who, now_s, what))
            last[who] = now_s
            for name, count in zip(NAMES, what, strict=True):
                expected[name] += count
    now_s = float(int(now_s) + 2)
    nobody_is_silent()
    for gateway in last:
        loads.take(at(gateway, now_s))
    for name in NAMES:
        samples = loads.samples(name, now_s, 1000.0)
        assert samples is not None
        assert samples[0].at_s <= 1001.0
        assert [it.at_s for it in samples] == [samples[0].at_s + it for it in range(len(samples))]
        assert sum(it.rps for it in samples) == pytest.approx(expected[name])
        assert samples[-1].held == loads.held(name)
