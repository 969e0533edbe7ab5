"""decide/gpu_lack: why the GPUs of a host do not do, in words with numbers."""

from typing import Any

from fakes.hosts import ask, claim, finding, gpu, host, part, process
from homeport_control.decide.capacity import capacity
from homeport_control.decide.choice import choose
from homeport_control.decide.gpu_lack import gpu_lack
from homeport_control.domain.hosts import Host, Reservation

A100 = "NVIDIA A100-SXM4-80GB"


def reason(machine: Host, claims: tuple[Reservation, ...] = (), **asked: Any) -> str:
    free, spec = capacity(machine, claims), ask(**asked).resources.gpu
    assert spec is not None
    assert choose(free, spec) is None
    return gpu_lack(free, spec).text


def test_a_host_without_gpus_says_why_it_has_none() -> None:
    assert reason(host("a", facts={"gpus_unavailable": "no NVIDIA driver"}), gpu="24GB") == (
        "needs 1 GPU, there are none (no NVIDIA driver)"
    )


def test_the_wrong_gpus_are_named() -> None:
    machine = host("a", gpu("G1"), gpu("G2"))
    assert reason(machine, gpu="A100") == "needs 1 of A100, there is only NVIDIA RTX A5000"
    assert reason(machine, gpu="80GB") == "needs 80GB on 1 GPU, there is only 24GB"
    assert reason(machine, gpu=4) == "needs 4 GPUs, there are 2"
    assert reason(machine, gpu="amd") == "needs a GPU by amd, there are only ones by nvidia"
    assert reason(machine, gpu={"compute_capability": "9.0.."}) == (
        "needs compute capability 9.0.. on 1 GPU, there is only 8.6"
    )
    mixed = host("a", gpu("G1"), gpu("G2", A100, 81920))
    assert reason(mixed, gpu="A100:2") == (
        "needs 2 of A100, only 1 fitting among NVIDIA A100-SXM4-80GB and NVIDIA RTX A5000"
    )


def test_who_asks_for_exactly_so_much_and_has_more_is_told_how_at_least_is_written() -> None:
    machine = host("a", gpu("G1", A100, 81920), gpu("G2", A100, 81920))
    assert reason(machine, gpu="24GB:2") == (
        "needs 24GB on 2 GPUs, there is only 80GB (24GB is exactly that: write 24GB.. for at least)"
    )
    assert reason(machine, gpu="24GB..40GB") == "needs 24GB..40GB on 1 GPU, there is only 80GB"


def test_the_right_gpus_in_other_hands_say_whose() -> None:
    machine = host("a", gpu("G1", used_mib=13107, processes=(process(),)), gpu("G2"))
    assert reason(machine, (claim("a", "G2", run="chat"),), gpu="24GB") == (
        "needs 24GB on 1 GPU, largest free 11.2GB (pid 3123 python3 holds 12.8GB; a replica of chat holds it)"
    )
    assert reason(machine, gpu=2) == "needs 2 GPUs, 1 of 2 free (pid 3123 python3 holds 12.8GB)"


def test_memory_that_belongs_to_no_process_is_told_as_such() -> None:
    assert reason(host("a", gpu("G1", used_mib=13107)), gpu="24GB") == (
        "needs 24GB on 1 GPU, largest free 11.2GB (a program that cannot be seen from here holds 12.8GB)"
    )


def test_a_sick_gpu_says_what_is_wrong_with_it() -> None:
    machine = host("a", gpu("G1"), gpu("G2"), findings=(finding("G1"),), cordoned_gpus=("G2",))
    assert reason(machine, gpu="24GB") == (
        "needs 24GB on 1 GPU, largest free 0GB (a GPU is failing: it fell off the bus; a GPU is drained)"
    )
    assert reason(host("a", gpu("G1", compute_mode="prohibited")), gpu=1) == (
        "needs 1 GPU, 0 of 1 free (a GPU is in compute mode prohibited)"
    )


def test_a_replica_that_has_ended_and_still_holds_memory_is_named() -> None:
    machine = host("a", gpu("G1", used_mib=13107, processes=(process(replica="gone"),)))
    assert reason(machine, gpu="24GB") == (
        "needs 24GB on 1 GPU, largest free 11.2GB (pid 3123 python3 of a replica that has ended holds 12.8GB)"
    )


def test_instances_do_not_work_together() -> None:
    instances = [gpu(f"MIG-{n}", f"{A100} MIG 1g.10gb", 9728, mig_parent="P") for n in range(3)]
    machine = host("a", gpu("P", A100, 81920, mig_enabled=True), *instances)
    assert reason(machine, gpu=2) == "needs 2 GPUs, there are 0 (3 MIG instances cannot work together)"
    assert reason(machine, gpu="80GB") == "needs 80GB on 1 GPU, there is only 9.5GB"
    assert reason(host("a", gpu("P", mig_enabled=True)), gpu=1) == (
        "needs 1 GPU, there are none (they are cut into MIG instances, of which there is none)"
    )


def shared(memory: str) -> dict[str, object]:
    return {"memory": memory, "shared": True}


def test_a_part_that_is_not_left_says_who_has_the_rest() -> None:
    machine = host("a", gpu("G1", used_mib=13111, processes=(process(),)), gpu("G2"))
    claims = (part("r1", "a", "G2", 10240), part("r2", "a", "G2", 4096, "embed"))
    assert reason(machine, claims, gpu=shared("12GB")) == (
        "needs 12GB of a shared GPU, largest free 11.2GB "
        "(pid 3123 python3 holds 12.8GB; 2 replicas of chat and embed share it and have 14GB)"
    )
    assert reason(machine, (*claims[:1], claim("a", "G1")), gpu=1) == (
        "needs 1 GPU, 0 of 2 free (a replica of other holds it; a replica of chat shares it and has 10GB)"
    )


def test_a_card_that_reports_a_little_less_than_its_box_says_is_told_to_the_megabyte() -> None:
    assert reason(host("a", gpu("G1")), gpu=shared("24GB")) == "needs 24GB on 1 GPU, there is only 24564MB"
    assert reason(host("a", gpu("G1", memory_mib=24576, used_mib=20)), gpu=shared("24GB")) == (
        "needs 24576MB of a shared GPU, largest free 24556MB (the driver holds 20MB of 24GB)"
    )


def test_a_gpu_for_one_process_cannot_be_shared() -> None:
    assert reason(host("a", gpu("G1", compute_mode="exclusive process")), gpu=shared("8GB")) == (
        "needs 8GB of a shared GPU, largest free 0GB (a GPU's compute mode lets in one process only)"
    )
    assert reason(host("a", gpu("G1")), gpu=shared("8GB") | {"total_memory": "80GB.."}) == (
        "needs 80GB.. on 1 GPU, there is only 24GB"
    )
