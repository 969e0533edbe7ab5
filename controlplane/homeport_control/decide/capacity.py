"""What is free on a host: GPUs whole and in part, cpus, memory, disk.

Pure. Does not decide what fits (fit) nor which GPUs a replica gets (choice). A GPU that is cut into MIG instances is none
itself; its instances are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from homeport_protos.gpu_memory import gigabytes

from homeport_control.decide.gpu_room import GpuRoom, gpu_room
from homeport_control.decide.near import Near
from homeport_control.domain.hosts import Gpu, Health, Host, Reservation

__all__ = ["Capacity", "capacity", "emptied", "gigabytes", "known_capacity"]


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


_known: dict[str, tuple[Host, tuple[Reservation, ...], Capacity]] = {}
MOST_KNOWN = 50_000


def known_capacity(host: Host, mine: Sequence[Reservation]) -> Capacity:
    """As `capacity`, of which it is the answer of the last time when nothing has changed: each plan and each placement asks for
    all hosts, and few have. mine: those on it. Compared is the host itself, not its value: that would take as long."""
    held = tuple(mine)
    known = _known.get(host.id)
    if known is not None and known[0] is host and known[1] == held:
        return known[2]
    if len(_known) >= MOST_KNOWN:  # of hosts that are gone, too
        _known.clear()
    made = capacity(host, held)
    _known[host.id] = (host, held, made)
    return made


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
