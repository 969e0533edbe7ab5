"""What is free on a host: whole GPUs, cpus, memory, disk; and whether a change of facts matters to placement.

Pure. Does not decide what fits (placement). Memory of one GPU beside others (`shared: true`) is not handed out yet,
but a reservation that is not exclusive already keeps its GPU from being given away whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeport_control.domain.hosts import Gpu, Host, HostFacts, Reservation

# A GPU that nobody uses still says that some memory is used: the driver's own share (about 600 MiB on an H100, as NVML
# counts it) and a desktop's. More than this, without a reservation of ours, is a program of somebody else.
FOREIGN_MEMORY_MIB = 1024
FOREIGN_MEMORY_SHARE = 0.05
DISK_STEP_MIB = 10 * 1024


@dataclass(frozen=True, slots=True)
class TakenGpu:
    gpu: Gpu
    reason: str  # "a replica of hello holds it", "a program outside Homeport uses 12.8GB of 24GB"
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """What can still be handed out on one host."""

    host: Host
    cpus: float
    memory_mib: int
    disk_mib: int
    free_gpus: tuple[Gpu, ...]  # by UUID
    taken_gpus: tuple[TakenGpu, ...]  # by UUID
    reserved_by: tuple[str, ...]  # run names, one for each replica, sorted


def gigabytes(mib: float) -> str:
    """As users write it: "24GB", "11.2GB", "512MB"."""
    if 0 < mib < 1024:
        return f"{mib:.0f}MB"
    return f"{mib / 1024:.1f}".removesuffix(".0") + "GB"


def is_used_by_others(gpu: Gpu) -> bool:
    """Asked only of a GPU without a reservation of ours."""
    return gpu.memory_used_mib > max(FOREIGN_MEMORY_MIB, FOREIGN_MEMORY_SHARE * gpu.memory_total_mib)


def capacity(host: Host, reservations: Iterable[Reservation]) -> Capacity:
    """What is left of `host`; reservations on other hosts are passed over."""
    mine = [reservation for reservation in reservations if reservation.host_id == host.id]
    holders = {uuid: reservation for reservation in mine for uuid in reservation.gpu_uuids}
    free: list[Gpu] = []
    taken: list[TakenGpu] = []
    for gpu in sorted(host.facts.gpus, key=lambda gpu: gpu.uuid):
        holder = holders.get(gpu.uuid)
        if holder is not None:
            taken.append(TakenGpu(gpu, f"a replica of {holder.run_name or 'another run'} holds it"))
        elif is_used_by_others(gpu):
            used, total = gigabytes(gpu.memory_used_mib), gigabytes(gpu.memory_total_mib)
            taken.append(TakenGpu(gpu, f"a program outside Homeport uses {used} of {total}", foreign=True))
        else:
            free.append(gpu)
    return Capacity(
        host=host,
        cpus=host.facts.cpus - sum(reservation.cpus for reservation in mine),
        memory_mib=host.facts.memory_mib - sum(reservation.memory_mib for reservation in mine),
        disk_mib=host.facts.disk_free_mib,
        free_gpus=tuple(free),
        taken_gpus=tuple(taken),
        reserved_by=tuple(sorted(reservation.run_name for reservation in mine)),
    )


def matters(old: HostFacts, new: HostFacts) -> bool:
    """Whether placement could answer otherwise now. What flickers (memory in use, disk by the megabyte) does not."""
    return _what_matters(old) != _what_matters(new)


def _what_matters(facts: HostFacts) -> object:
    gpus = sorted(
        (gpu.uuid, gpu.name, gpu.memory_total_mib, gpu.compute_capability, is_used_by_others(gpu)) for gpu in facts.gpus
    )
    return gpus, facts.cpus, facts.memory_mib, facts.disk_free_mib // DISK_STEP_MIB, bool(facts.docker_unavailable)
