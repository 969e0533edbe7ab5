"""Which GPUs of a host a replica gets: the smallest kind that will do, near each other; or of which one it gets a part.

Pure. Does not say why nothing fits (fit) nor compare hosts (score).

A replica with one GPU may get a MIG instance, which is a GPU by its own UUID. With several it gets whole ones only: NCCL
does not run over MIG instances. GPUs with a warning are taken when those without do not suffice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from homeport_control.decide.capacity import Capacity
from homeport_control.decide.gpu_room import GpuRoom
from homeport_control.decide.gpus import has_capability, has_memory, is_named, size_gb
from homeport_control.domain.hosts import Gpu
from homeport_control.spec.gpu import GpuSpec


@dataclass(frozen=True, slots=True)
class Choice:
    gpus: tuple[Gpu, ...] = ()  # by UUID
    size_gb: int = 0  # whole GPUs: what their boxes say together
    left_mib: int = 0  # a part: what is free of it afterwards
    worst: int = 0  # the longest distance between two of them (near)
    distances: int = 0  # their sum
    warned: bool = False


NO_GPU = Choice()


def choose(free: Capacity, spec: GpuSpec | None) -> Choice | None:
    """None: they do not fit."""
    if spec is None:
        return NO_GPU
    if spec.vendor not in {None, "nvidia"}:  # agents report GPUs by NVML only
        return None
    return _part(free, spec) if spec.shared else _whole(free, spec)


def suits(room: GpuRoom, spec: GpuSpec) -> bool:
    """Whether it would do if nobody used it."""
    gpu = room.gpu
    if spec.names and not any(is_named(gpu, name) for name in spec.names):
        return False
    if not has_capability(gpu, spec.compute_capability):
        return False
    if spec.shared:
        return room.total_mib >= least_mib(spec) and has_memory(room.total_mib, spec.total_memory_mib)
    if gpu.mig_parent and (spec.count.min or 1) > 1:
        return False
    return has_memory(room.total_mib, spec.memory_mib)


def least_mib(spec: GpuSpec) -> int:
    """What a shared replica reserves."""
    return (spec.memory_mib.min or 0) if spec.memory_mib is not None else 0


def _part(free: Capacity, spec: GpuSpec) -> Choice | None:
    """Packed tightest: the GPU with the least left, so that others stay whole."""
    needs_mib = least_mib(spec)
    best: GpuRoom | None = None
    for room in free.rooms:
        if room.free_mib < needs_mib or (
            best is not None and (room.warned, room.free_mib) >= (best.warned, best.free_mib)
        ):
            continue
        if room.is_shareable and suits(room, spec):  # last: they take longest
            best = room
    if best is None:
        return None
    return Choice((best.gpu,), left_mib=best.free_mib - needs_mib, warned=best.warned)


Kind = tuple[int, str, int, str]  # size, name, memory, compute capability


def _whole(free: Capacity, spec: GpuSpec) -> Choice | None:
    """As few as the count's range and the total memory allow: what is left can serve others."""
    if free.whole < (spec.count.min or 1):
        return None
    kinds: dict[Kind, list[GpuRoom]] = {}
    for room in free.rooms:
        if room.is_whole:
            gpu = room.gpu
            kinds.setdefault((size_gb(room.total_mib), gpu.name, room.total_mib, gpu.compute_capability), []).append(
                room
            )
    fitting = [rooms for _, rooms in sorted(kinds.items()) if suits(rooms[0], spec)]
    healthy = [some for some in ([it for it in rooms if not it.warned] for rooms in fitting) if some]
    found = _of_kinds(free, healthy, spec)
    if found is None and any(it.warned for rooms in fitting for it in rooms):
        found = _of_kinds(free, fitting, spec)
    return found


def _of_kinds(free: Capacity, kinds: Sequence[Sequence[GpuRoom]], spec: GpuSpec) -> Choice | None:
    """Of one kind if possible, the smallest that will do; else of several."""
    for count, rooms in _counts(kinds, spec):
        if has_memory(count * rooms[0].total_mib, spec.total_memory_mib):
            return _nearest(free, rooms, count)
    for count, rooms in _counts([[room for kind in kinds for room in kind if not room.gpu.mig_parent]], spec):
        if count > 1:
            mixed = _mixed(rooms, count, spec)
            if mixed:
                return _nearest(free, mixed, count)
    return None


def _counts(kinds: Sequence[Sequence[GpuRoom]], spec: GpuSpec) -> Iterator[tuple[int, Sequence[GpuRoom]]]:
    least = spec.count.min or 1
    for rooms in kinds:
        most = min(len(rooms), spec.count.max or len(rooms))
        if rooms and rooms[0].gpu.mig_parent:
            most = min(most, 1)
        for count in range(least, most + 1):
            yield count, rooms


def _mixed(rooms: Sequence[GpuRoom], count: int, spec: GpuSpec) -> list[GpuRoom]:
    """`count` GPUs of different memory whose sum is what was asked, the least sum that is; empty: no such."""
    by_memory: dict[int, list[GpuRoom]] = {}
    for room in sorted(rooms, key=lambda room: (room.warned, room.gpu.uuid)):
        by_memory.setdefault(room.total_mib, []).append(room)
    sets = combinations_with_replacement(sorted(by_memory), count)
    for sizes in sorted(sets, key=lambda some: (sum(some), some)):
        counts = {size: sizes.count(size) for size in sizes}
        if has_memory(sum(sizes), spec.total_memory_mib) and all(len(by_memory[it]) >= n for it, n in counts.items()):
            return [room for size, n in counts.items() for room in by_memory[size][:n]]
    return []


def _nearest(free: Capacity, rooms: Sequence[GpuRoom], count: int) -> Choice:
    gpus, worst, distances = free.near.best([room.gpu for room in rooms], count)
    of = {room.gpu.uuid: room for room in rooms}
    chosen = [of[gpu.uuid] for gpu in gpus]
    return Choice(
        gpus=tuple(sorted(gpus, key=lambda gpu: gpu.uuid)) if count > 1 else gpus,
        size_gb=sum(size_gb(room.total_mib) for room in chosen),
        worst=worst,
        distances=distances,
        warned=any(room.warned for room in chosen),
    )
