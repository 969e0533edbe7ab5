"""decide/choice: which GPUs a replica gets."""

from typing import Any

from fakes.hosts import ask, claim, finding, gpu, host, part, process, wired
from homeport_control.decide.capacity import capacity
from homeport_control.decide.choice import Choice, choose
from homeport_control.domain.hosts import Health, Host, Reservation

A100 = "NVIDIA A100-SXM4-80GB"


def choice(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> Choice | None:
    return choose(capacity(machine, claims), ask(**asked).resources.gpu)


def chosen(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> list[str] | None:
    found = choice(machine, claims, **asked)
    return None if found is None else [gpu.uuid for gpu in found.gpus]


def test_a_replica_gets_free_gpus_by_uuid() -> None:
    machine = host("a", gpu("G3"), gpu("G1"), gpu("G2"))
    assert chosen(machine, gpu=2) == ["G1", "G2"]
    assert chosen(machine, (claim("a", "G1"),), gpu=2) == ["G2", "G3"]


def test_a_range_of_counts_takes_as_few_as_it_may() -> None:
    machine = host("a", *(gpu(f"G{number}") for number in range(4)))
    assert chosen(machine, gpu="24GB:2..4") == ["G0", "G1"]
    assert chosen(machine, gpu={"count": "1..4", "total_memory": "70GB.."}) == ["G0", "G1", "G2"]
    assert chosen(machine, gpu={"count": "1..2", "total_memory": "70GB.."}) is None


def test_gpus_are_of_one_kind_where_that_is_possible_and_the_smallest_that_will_do() -> None:
    large = [gpu(f"A{number}", A100, 81920) for number in range(2)]
    small = [gpu(f"B{number}") for number in range(2)]
    machine = host("a", *large, *small)
    assert chosen(machine, gpu=1) == ["B0"]
    assert chosen(machine, gpu=2) == ["B0", "B1"]
    assert chosen(machine, (claim("a", "B0"),), gpu=2) == ["A0", "A1"]
    assert chosen(machine, (claim("a", "B0", "A0"),), gpu=2) == ["A1", "B1"]


def test_gpus_of_several_kinds_are_put_together_so_that_their_memory_is_what_was_asked() -> None:
    small = gpu("B1")
    large = [gpu("A1", A100, 81920), gpu("C1", "NVIDIA H100 80GB HBM3", 81559)]
    machine = host("a", small, *large)
    assert chosen(machine, gpu={"count": 2, "total_memory": "150GB.."}) == ["A1", "C1"]
    machine = host("a", gpu("D1"), *large)
    assert chosen(machine, gpu={"count": 2, "total_memory": "..110GB"}) == ["C1", "D1"]


def test_any_sum_of_memory_that_can_be_made_is_found() -> None:
    machine = host("a", gpu("S"), gpu("M", "NVIDIA L40S", 46068), gpu("L", A100, 81920))
    assert chosen(machine, gpu={"count": 2, "total_memory": "100GB..110GB"}) == ["L", "S"]
    assert chosen(machine, gpu={"count": "1..3", "total_memory": "140GB.."}) == ["L", "M", "S"]


def test_several_gpus_are_those_nearest_to_each_other() -> None:
    near = wired(["G0", "G1", "G2", "G3"], "SYS", G1_G3="NV4", G0_G2="PIX")
    machine = host("a", *(gpu(uuid, near=near[uuid]) for uuid in near))
    assert chosen(machine, gpu=2) == ["G1", "G3"]
    assert chosen(machine, (claim("a", "G3"),), gpu=2) == ["G0", "G2"]
    assert chosen(machine, gpu=1) == ["G0"]


def test_a_gpu_with_a_warning_is_taken_last() -> None:
    machine = host(
        "a", gpu("G0"), gpu("G1"), gpu("G2"), gpu("B", A100, 81920), findings=(finding("G0", Health.WARNING),)
    )
    assert chosen(machine, gpu=1) == ["G1"]
    assert chosen(machine, gpu="A5000:2") == ["G1", "G2"]
    assert chosen(machine, gpu="A5000:3") == ["G0", "G1", "G2"]
    assert chosen(machine, (claim("a", "G1", "G2"),), gpu=1) == ["B"]


def test_one_gpu_may_be_an_instance_and_several_may_not() -> None:
    instances = [gpu(f"MIG-{n}", f"{A100} MIG 1g.10gb", 9728, mig_parent="P") for n in range(3)]
    machine = host("a", gpu("P", A100, 81920, mig_enabled=True), *instances, gpu("G1"), gpu("G2"))
    assert chosen(machine, gpu=1) == ["MIG-0"]
    assert chosen(machine, gpu="A100:10GB") == ["MIG-0"]
    assert chosen(machine, gpu=2) == ["G1", "G2"]
    assert chosen(machine, gpu={"count": "1..3", "total_memory": "40GB.."}) == ["G1", "G2"]
    assert chosen(machine, gpu="10GB:2") is None
    assert chosen(machine, gpu="80GB") is None


def test_a_gpu_that_lets_nobody_compute_or_is_by_another_vendor_is_none() -> None:
    assert chosen(host("a", gpu("G1", compute_mode="prohibited")), gpu=1) is None
    assert chosen(host("a", gpu("G1")), gpu="amd") is None


SHARED = {"memory": "8GB", "shared": True}


def test_a_part_is_taken_where_least_is_left() -> None:
    machine = host("a", gpu("G1"), gpu("G2"), gpu("G3", A100, 81920))
    assert chosen(machine, gpu=SHARED) == ["G1"]
    assert chosen(machine, (part("r1", "a", "G2", 8192),), gpu=SHARED) == ["G2"]
    assert chosen(machine, (part("r1", "a", "G2", 20000),), gpu=SHARED) == ["G1"]
    assert chosen(machine, (part("r1", "a", "G3", 72000),), gpu=SHARED) == ["G3"]
    found = choice(machine, (part("r1", "a", "G3", 72000),), gpu=SHARED)
    assert found is not None
    assert found.left_mib == 81920 - 72000 - 8192


def test_whole_and_parts_never_meet() -> None:
    machine = host("a", gpu("G1"))
    assert chosen(machine, (claim("a", "G1"),), gpu=SHARED) is None
    assert chosen(machine, (part("r1", "a", "G1", 1024),), gpu=1) is None


def test_a_part_of_what_a_stranger_leaves_may_be_had_and_the_whole_may_not() -> None:
    machine = host("a", gpu("G1", used_mib=13107, processes=(process(),)))
    assert chosen(machine, gpu=SHARED) == ["G1"]
    assert chosen(machine, gpu={"memory": "12GB", "shared": True}) is None
    assert chosen(machine, gpu=1) is None


def test_a_part_asks_for_the_kind_of_gpu_too() -> None:
    machine = host("a", gpu("G1"), gpu("G2", A100, 81920, cc="8.0"))
    assert chosen(machine, gpu=SHARED | {"name": "A100"}) == ["G2"]
    assert chosen(machine, gpu=SHARED | {"total_memory": "80GB.."}) == ["G2"]
    assert chosen(machine, gpu=SHARED | {"compute_capability": "8.6.."}) == ["G1"]
    alone = host("a", gpu("G1", compute_mode="exclusive process"))
    assert chosen(alone, gpu=SHARED) is None
    assert chosen(alone, gpu=1) == ["G1"]
