"""decide/fit: what bars a host, and what it lacks, with numbers."""

from typing import Any

import pytest
from fakes.hosts import NOW, ask, claim, finding, gpu, host
from homeport_control.decide.ask import Filters
from homeport_control.decide.capacity import capacity
from homeport_control.decide.fit import Needs, fits, lacks
from homeport_control.domain.hosts import GATEWAYS_FLEET, Connection, Host, Reservation


def reasons(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> list[str]:
    free, wanted = capacity(machine, claims), ask(**asked)
    found = lacks(free, wanted, NOW)
    if not found:
        assert fits(free, wanted, Needs.of(wanted)) is not None
    return [lack.text for lack in found]


def test_nothing_asked_fits_everywhere() -> None:
    assert reasons(host("a")) == []


def test_each_resource_that_lacks_is_named_with_what_is_free() -> None:
    machine = host("a", cpus=8, memory_mib=16384)
    assert reasons(machine, cpu="9..") == ["needs 9 cpus, 8 free"]
    assert reasons(machine, (claim("a", cpus=6),), cpu="4..") == ["needs 4 cpus, 2 of 8 free"]
    assert reasons(machine, (claim("a", memory_mib=8192),), memory="12GB..", disk="100GB..") == [
        "needs 12GB of memory, 8GB of 16GB free",
        "needs 100GB of disk, 50GB free",
    ]


def test_only_the_lower_end_of_cpu_and_memory_is_asked_of_a_host() -> None:
    assert reasons(host("a", cpus=64, memory_mib=262144), cpu="2..4", memory="..8GB") == []


@pytest.mark.parametrize(
    ("values", "filters", "reason"),
    [
        ({"labels": (("rack", "b"),)}, Filters(labels=("disk=nvme", "rack=b")), "has no label disk=nvme"),
        ({"findings": (finding(reason="NVML hangs."),)}, Filters(), "is failing: NVML hangs"),
        ({}, Filters(fleets=("prod",)), "is fleet lab, the run asks for prod"),
        ({}, Filters(hosts=("b", "c")), "is host a, the run asks for b or c"),
        ({}, Filters(backends=("aws",)), "is backend agent, the run asks for aws"),
        ({}, Filters(regions=("eu",)), "is region remote, the run asks for eu"),
        ({}, Filters(instance_types=("p3",)), "has no instance type, the run asks for p3"),
        ({}, Filters(spot_policy="spot"), "is not spot, the run asks for spot"),
        ({"spot": True}, Filters(spot_policy="on-demand"), "is spot, the run asks for on-demand"),
        ({"price": 2.5}, Filters(max_price=2.0), "costs $2.5 an hour, max_price is $2"),
        ({"connection": Connection.UNREACHABLE, "connection_since_s": 988.0}, Filters(), "is unreachable since 12 s"),
        ({"cordoned": True}, Filters(), "is cordoned"),
        ({"fleet": GATEWAYS_FLEET}, Filters(), "runs gateways only"),
        ({"facts": {"docker_unavailable": "no socket."}}, Filters(), "has no Docker: no socket"),
    ],
)
def test_what_bars_a_host_is_the_only_reason(values: dict[str, Any], filters: Filters, reason: str) -> None:
    assert reasons(host("a", **values), filters=filters, cpu="99..") == [reason]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(fleets=("x", "lab"), backends=("agent",), regions=("remote",), max_price=0.0, spot_policy="on-demand"),
        Filters(hosts=("a",)),
        Filters(labels=("rack=a",)),
        Filters(hosts=("id-a",)),
        Filters(hosts=("10.0.0.1",), spot_policy="auto"),
    ],
)
def test_filters_that_the_host_meets_let_it_through(filters: Filters) -> None:
    assert reasons(host("a", labels=(("rack", "a"), ("zone", "1"))), filters=filters) == []


def test_a_sick_gpu_does_not_bar_its_host_for_others() -> None:
    assert reasons(host("a", gpu("G1"), gpu("G2"), findings=(finding("G1"),)), gpu=1) == []
    assert reasons(host("a", gpu("G1"), findings=(finding("G1"),))) == []
