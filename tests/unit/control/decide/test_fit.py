"""decide/fit: reasons with numbers, and which GPUs a replica would get."""

from typing import Any

import pytest
from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.capacity import capacity
from homeport_control.decide.fit import Filters, lacks
from homeport_control.domain.hosts import Connection, Host, Reservation


def reasons(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> list[str]:
    found, gpus = lacks(capacity(machine, claims), ask(**asked), NOW)
    assert not (found and gpus)
    return [lack.text for lack in found]


def chosen(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> list[str]:
    found, gpus = lacks(capacity(machine, claims), ask(**asked), NOW)
    assert not found
    return [gpu.uuid for gpu in gpus]


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
        Filters(hosts=("id-a",)),
        Filters(hosts=("10.0.0.1",), spot_policy="auto"),
    ],
)
def test_filters_that_the_host_meets_let_it_through(filters: Filters) -> None:
    assert reasons(host("a"), filters=filters) == []


def test_a_host_without_gpus_says_why_it_has_none() -> None:
    assert reasons(host("a", facts={"gpus_unavailable": "no NVIDIA driver"}), gpu="24GB") == [
        "needs 1 GPU, there are none (no NVIDIA driver)"
    ]


def test_the_wrong_gpus_are_named() -> None:
    machine = host("a", gpu("G1"), gpu("G2"))
    assert reasons(machine, gpu="A100") == ["needs 1 of A100, there is only NVIDIA RTX A5000"]
    assert reasons(machine, gpu="80GB") == ["needs 80GB on 1 GPU, there is only 24GB"]
    assert reasons(machine, gpu=4) == ["needs 4 GPUs, there are 2"]
    assert reasons(machine, gpu="amd") == ["needs a GPU by amd, there are only ones by nvidia"]
    assert reasons(machine, gpu={"compute_capability": "9.0.."}) == [
        "needs compute capability 9.0.. on 1 GPU, there is only 8.6"
    ]
    mixed = host("a", gpu("G1"), gpu("G2", "NVIDIA A100-SXM4-80GB", 81920))
    assert reasons(mixed, gpu="A100:2") == [
        "needs 2 of A100, only 1 fitting among NVIDIA A100-SXM4-80GB and NVIDIA RTX A5000"
    ]


def test_the_right_gpus_in_other_hands_say_whose() -> None:
    machine = host("a", gpu("G1", used_mib=13107), gpu("G2"))
    assert reasons(machine, (claim("a", "G2", run="chat"),), gpu="24GB") == [
        "needs 24GB on 1 GPU, largest free 11.2GB "
        "(a program outside Homeport uses 12.8GB of 24GB; a replica of chat holds it)"
    ]
    assert reasons(machine, gpu=2) == ["needs 2 GPUs, 1 of 2 free (a program outside Homeport uses 12.8GB of 24GB)"]


def test_a_part_of_a_gpu_is_refused_by_name() -> None:
    assert reasons(host("a", gpu("G1")), gpu={"memory": "8GB", "shared": True}) == [
        "needs a part of one GPU; `shared: true` is not supported yet"
    ]


def test_a_replica_gets_free_gpus_by_uuid() -> None:
    machine = host("a", gpu("G3"), gpu("G1"), gpu("G2"))
    assert chosen(machine, gpu=2) == ["G1", "G2"]
    assert chosen(machine, (claim("a", "G1"),), gpu=2) == ["G2", "G3"]


def test_a_range_of_counts_takes_as_few_as_it_may() -> None:
    machine = host("a", *(gpu(f"G{number}") for number in range(4)))
    assert chosen(machine, gpu="24GB:2..4") == ["G0", "G1"]
    assert chosen(machine, gpu={"count": "1..4", "total_memory": "70GB.."}) == ["G0", "G1", "G2"]
    assert reasons(machine, gpu={"count": "1..2", "total_memory": "70GB.."}) == [
        "needs 70GB.. of GPU memory in total, 4 free GPUs with 48GB"
    ]


def test_gpus_are_of_one_kind_where_that_is_possible_and_the_smallest_that_will_do() -> None:
    large = [gpu(f"A{number}", "NVIDIA A100-SXM4-80GB", 81920) for number in range(2)]
    small = [gpu(f"B{number}") for number in range(2)]
    machine = host("a", *large, *small)
    assert chosen(machine, gpu=1) == ["B0"]
    assert chosen(machine, gpu=2) == ["B0", "B1"]
    assert chosen(machine, (claim("a", "B0"),), gpu=2) == ["A0", "A1"]
    assert chosen(machine, (claim("a", "B0", "A0"),), gpu=2) == ["A1", "B1"]


def test_gpus_of_several_kinds_are_put_together_so_that_their_memory_is_what_was_asked() -> None:
    small = gpu("B1")
    large = [gpu("A1", "NVIDIA A100-SXM4-80GB", 81920), gpu("C1", "NVIDIA H100 80GB HBM3", 81559)]
    machine = host("a", small, *large)
    assert chosen(machine, gpu={"count": 2, "total_memory": "150GB.."}) == ["A1", "C1"]
    machine = host("a", gpu("D1"), *large)
    assert chosen(machine, gpu={"count": 2, "total_memory": "..110GB"}) == ["C1", "D1"]
