"""What is free on a host: GPUs whole and in part, cpus, memory, disk; and whether a change of facts matters to placement.

Pure. Does not decide what fits (fit) nor which GPUs a replica gets (choice). A GPU that is cut into MIG instances is none
itself; its instances are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from homeport_protos.gpu_memory import UNSEEN_MIB, UNSEEN_SHARE, foreign, gigabytes

from homeport_control.decide.gpu_room import GpuRoom, gpu_room
from homeport_control.decide.near import Near
from homeport_control.domain.hosts import Gpu, Health, Host, HostFacts, Reservation

__all__ = ["Capacity", "capacity", "emptied", "gigabytes", "matters"]

DISK_STEP_MIB = 10 * 1024
STRANGER_STEP_MIB = 512  # of strangers on a GPU


@dataclass(frozen=True, slots=True)
class Capacity:
    """What can still be handed out on one host."""

    host: Host
    cpus: float
    memory_mib: int
    disk_mib: int
    rooms: tuple[GpuRoom, ...]  # by UUID
    whole: int  # of these, how many nobody has
    replicas: int  # that have a claim there
    near: Near
    warned: bool  # the host itself has a warning


def capacity(host: Host, reservations: Iterable[Reservation], near: Near | None = None) -> Capacity:
    """What is left of `host`; reservations on other hosts are passed over. `near`: of the same host, worked out before."""
    facts = host.facts
    mine = [reservation for reservation in reservations if reservation.host_id == host.id]
    holders: dict[str, list[Reservation]] = {}
    for reservation in mine:
        for uuid in reservation.gpu_uuids:
            holders.setdefault(uuid, []).append(reservation)
    sick = bool(host.findings or host.cordoned_gpus)
    warned = {it.gpu_uuid for it in host.findings if it.severity is not Health.HEALTHY}
    rooms = []
    for gpu in facts.gpus:
        if gpu.mig_enabled:
            continue
        held: list[Reservation] = holders.get(gpu.uuid, [])
        if gpu.mig_parent in holders and gpu.mig_parent:
            held = held + holders[gpu.mig_parent]
        barred = host.barred_gpu(gpu.uuid) if sick else ""
        is_warned = gpu.uuid in warned or (gpu.mig_parent in warned and bool(gpu.mig_parent))
        rooms.append(gpu_room(gpu, facts.memory_mib, held, barred, is_warned))
    rooms.sort(key=lambda room: room.gpu.uuid)
    return Capacity(
        host=host,
        cpus=facts.cpus - sum(reservation.cpus for reservation in mine),
        memory_mib=facts.memory_mib - sum(reservation.memory_mib for reservation in mine),
        disk_mib=facts.disk_free_mib,
        rooms=tuple(rooms),
        whole=sum(room.is_whole for room in rooms),
        replicas=len(mine),
        near=near or Near(facts.gpus),
        warned="" in warned,
    )


def emptied(host: Host, reservations: Iterable[Reservation]) -> Host:
    """The host as it would be without its replicas: what they hold of the GPUs is not held."""
    held = {uuid for it in reservations if it.host_id == host.id for uuid in it.gpu_uuids}
    gpus = tuple(_without_ours(gpu, gpu.uuid in held) for gpu in host.facts.gpus)
    return replace(host, facts=replace(host.facts, gpus=gpus))


def _without_ours(gpu: Gpu, is_held: bool) -> Gpu:
    strangers = tuple(it for it in gpu.processes if not it.replica_id)
    if not is_held and len(strangers) == len(gpu.processes):
        return gpu
    # What belongs to no process of a GPU in our hands may be ours: it is given the benefit of the doubt.
    used_mib = sum(it.memory_mib or 0 for it in strangers)
    return replace(gpu, processes=strangers, memory_used_mib=min(gpu.memory_used_mib, used_mib))


def matters(old: HostFacts, new: HostFacts) -> bool:
    """Whether placement could answer otherwise now. What flickers (memory in use, disk by the megabyte) does not.

    `old` are the facts that placement has, not the last sample: what creeps matters once it has crept far enough.
    """
    if _plain(old) != _plain(new):
        return True
    disk_step_mib = min(DISK_STEP_MIB, max(512, old.disk_free_mib // 10))
    if abs(old.disk_free_mib - new.disk_free_mib) > disk_step_mib:
        return True
    now = {gpu.uuid: gpu for gpu in new.gpus}
    return any(_is_held_otherwise(gpu, now[gpu.uuid]) for gpu in old.gpus)


def _plain(facts: HostFacts) -> object:
    gpus = sorted(
        (
            gpu.uuid, gpu.name, gpu.memory_total_mib, gpu.compute_capability, gpu.mig_parent, gpu.mig_enabled,
            gpu.compute_mode, gpu.unified_memory, sorted((it.uuid, it.path) for it in gpu.near),
        )
        for gpu in facts.gpus
    )  # fmt: skip
    return gpus, facts.cpus, facts.memory_mib, facts.docker_unavailable, facts.gpus_unavailable, sorted(facts.images)


def _is_held_otherwise(old: Gpu, new: Gpu) -> bool:
    """Other strangers, or more or less of one; other replicas of ours, or one that grew past what it may have."""
    before, after = (foreign(it.memory_used_mib, it.memory_total_mib, it.processes) for it in (old, new))
    if (before is None) != (after is None) or _who(old) != _who(new):
        return True
    if before is not None and after is not None and abs(before.mib - after.mib) > STRANGER_STEP_MIB:
        return True
    step_mib = max(UNSEEN_MIB, UNSEEN_SHARE * old.memory_total_mib)
    return abs(old.memory_used_mib - new.memory_used_mib) > step_mib


def _who(gpu: Gpu) -> tuple[set[str], set[tuple[int, str, str]]]:
    """Displays come and go by the megabyte; the one that counts is seen by its memory."""
    return (
        {it.replica_id for it in gpu.processes if it.replica_id},
        {(it.pid, it.name, it.container) for it in gpu.processes if not it.replica_id and not it.graphics},
    )
