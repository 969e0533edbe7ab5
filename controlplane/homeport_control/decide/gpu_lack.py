"""Why the GPUs of a host do not do: the wrong ones, too few, or in other hands, with who holds what.

Pure, and asked only where choice found nothing. First the kind of reason and its number (`gpu_short`), which is cheap enough
for every host of a fleet; then the words (`gpu_lack`).
"""

from collections.abc import Callable, Iterable, Sequence

from homeport_control.decide.capacity import Capacity, gigabytes
from homeport_control.decide.choice import least_mib, suits
from homeport_control.decide.gpu_room import GpuRoom, is_for_one_process
from homeport_control.decide.gpus import has_capability, is_named
from homeport_control.decide.lack import Lack, Short
from homeport_control.decide.progress import plural
from homeport_control.spec.gpu import GpuSpec, memory_range_text
from homeport_control.spec.ranges import range_text


def gpu_lack(free: Capacity, spec: GpuSpec) -> Lack:
    kind, has = gpu_short(free, spec)
    return Lack(kind, f"needs {_WORDS[kind](free, spec)}", has)


def gpu_short(free: Capacity, spec: GpuSpec) -> Short:
    """First why the GPUs would not do even if all were free, then who has them."""
    least = spec.count.min or 1
    rooms = _rooms(free, spec)
    if not free.rooms:
        return Short("gpu-none", 0)
    if spec.vendor not in {None, "nvidia"}:  # agents report GPUs by NVML only
        return Short("gpu-vendor", 0)
    if len(rooms) < least:
        return Short("gpu-count", len(rooms))
    named = _named(rooms, spec)
    if len(named) < least:
        return Short("gpu-name", len(named))
    able = _able(named, spec)
    if len(able) < least:
        return Short("gpu-capability", len(able))
    fitting = [room for room in able if suits(room, spec)]
    if len(fitting) < least:
        return Short("gpu-memory", max(room.total_mib for room in able))
    if spec.shared:
        return Short("gpu-part", _largest_mib(fitting))
    whole = sum(room.is_whole for room in fitting)
    if whole >= least:
        return Short("gpu-total", sum(_largest_first(fitting, spec)))
    is_by_memory = spec.memory_mib is not None and least == 1
    return Short("gpu-taken", max(room.free_mib for room in fitting) if is_by_memory else whole)


def _rooms(free: Capacity, spec: GpuSpec) -> Sequence[GpuRoom]:
    return free.rooms if (spec.count.min or 1) == 1 else [room for room in free.rooms if not room.gpu.mig_parent]


def _named(rooms: Sequence[GpuRoom], spec: GpuSpec) -> Sequence[GpuRoom]:
    if not spec.names:
        return rooms
    return [room for room in rooms if any(is_named(room.gpu, name) for name in spec.names)]


def _able(rooms: Sequence[GpuRoom], spec: GpuSpec) -> Sequence[GpuRoom]:
    if spec.compute_capability is None:
        return rooms
    return [room for room in rooms if has_capability(room.gpu, spec.compute_capability)]


def _fitting(free: Capacity, spec: GpuSpec) -> list[GpuRoom]:
    return [room for room in _rooms(free, spec) if suits(room, spec)]


def _largest_mib(fitting: Sequence[GpuRoom]) -> int:
    return max((room.free_mib for room in fitting if room.is_shareable), default=0)


def _largest_first(fitting: Sequence[GpuRoom], spec: GpuSpec) -> list[int]:
    """The memory of the free ones, of as many as the count allows."""
    return sorted((room.total_mib for room in fitting if room.is_whole), reverse=True)[: spec.count.max]


def _none(free: Capacity, spec: GpuSpec) -> str:
    gone = free.host.facts.gpus_unavailable.rstrip(".")
    cut = "they are cut into MIG instances, of which there is none" if free.host.facts.gpus else ""
    return f"{_gpus(spec)}, there are none{_because([gone or cut])}"


def _vendor(free: Capacity, spec: GpuSpec) -> str:
    return f"a GPU by {spec.vendor}, there are only ones by nvidia"


def _count(free: Capacity, spec: GpuSpec) -> str:
    number = len(_rooms(free, spec))
    instances = len(free.rooms) - number
    cut = f"{plural(instances, 'MIG instance')} cannot work together" if instances else ""
    return f"{_gpus(spec)}, there {'is' if number == 1 else 'are'} {number}{_because([cut])}"


def _name(free: Capacity, spec: GpuSpec) -> str:
    rooms = _rooms(free, spec)
    wanted = f"{spec.count.min or 1} of {' or '.join(spec.names)}"
    return _only(wanted, (room.gpu.name for room in rooms), len(_named(rooms, spec)))


def _capability(free: Capacity, spec: GpuSpec) -> str:
    named = _named(_rooms(free, spec), spec)
    versions = (room.gpu.compute_capability or "an unknown one" for room in named)
    wanted = range_text(spec.compute_capability, lambda end: f"{end:.1f}") if spec.compute_capability else "any"
    return _only(f"compute capability {wanted} on {_gpus(spec)}", versions, len(_able(named, spec)))


def _memory(free: Capacity, spec: GpuSpec) -> str:
    able = _able(_named(_rooms(free, spec), spec), spec)
    asked = spec.memory_mib
    wanted = memory_range_text(asked) if asked is not None else ""
    if spec.shared:
        is_large = any(room.total_mib >= least_mib(spec) for room in able)
        total = spec.total_memory_mib
        wanted = memory_range_text(total) if is_large and total is not None else gigabytes(least_mib(spec))
    fitting = len(_fitting(free, spec))
    found = {gigabytes(room.total_mib) for room in able}
    if wanted in found and not fitting:  # a card of 24GB reports a little less
        found = {f"{room.total_mib}MB" for room in able}
    text = _only(f"{wanted} on {_gpus(spec)}", found, fitting)
    if asked is not None and asked.min is not None and asked.min == asked.max and not spec.shared:
        larger = sum(room.total_mib > asked.min for room in able)
        if larger >= (spec.count.min or 1):
            text += f" ({wanted} is exactly that: write {wanted}.. for at least)"
    return text


def _part(free: Capacity, spec: GpuSpec) -> str:
    fitting = _fitting(free, spec)
    needs_mib, largest_mib = least_mib(spec), _largest_mib(fitting)
    needs, largest = gigabytes(needs_mib), gigabytes(largest_mib)
    if needs == largest:
        needs, largest = f"{needs_mib}MB", f"{largest_mib}MB"
    because = _because(reason for room in fitting for reason in _why_no_part(room))
    return f"{needs} of a shared GPU, largest free {largest}{because}"


def _why_no_part(room: GpuRoom) -> tuple[str, ...]:
    if not room.barred and is_for_one_process(room.gpu):
        return ("a GPU's compute mode lets in one process only",)
    if room.reasons:
        return room.reasons
    held_mib = room.total_mib - room.free_mib
    return (f"the driver holds {gigabytes(held_mib)} of {gigabytes(room.total_mib)}",) if held_mib else ()


def _taken(free: Capacity, spec: GpuSpec) -> str:
    fitting = _fitting(free, spec)
    because = _because(reason for room in fitting if not room.is_whole for reason in room.reasons)
    if spec.memory_mib is not None and (spec.count.min or 1) == 1:
        largest_mib = max(room.free_mib for room in fitting)
        return f"{memory_range_text(spec.memory_mib)} on 1 GPU, largest free {gigabytes(largest_mib)}{because}"
    return f"{_gpus(spec)}, {sum(room.is_whole for room in fitting)} of {len(fitting)} free{because}"


def _total(free: Capacity, spec: GpuSpec) -> str:
    fitting = _fitting(free, spec)
    whole = sum(room.is_whole for room in fitting)
    wanted = memory_range_text(spec.total_memory_mib) if spec.total_memory_mib is not None else "any"
    usable = gigabytes(sum(_largest_first(fitting, spec)))
    return f"{wanted} of GPU memory in total, {plural(whole, 'free GPU')} with {usable}"


_WORDS: dict[str, Callable[[Capacity, GpuSpec], str]] = {
    "gpu-none": _none,
    "gpu-vendor": _vendor,
    "gpu-count": _count,
    "gpu-name": _name,
    "gpu-capability": _capability,
    "gpu-memory": _memory,
    "gpu-part": _part,
    "gpu-taken": _taken,
    "gpu-total": _total,
}


def _gpus(spec: GpuSpec) -> str:
    return plural(spec.count.min or 1, "GPU")


def _only(wanted: str, found: Iterable[str], fitting: int) -> str:
    some = f"only {fitting} fitting among" if fitting else "there is only"
    return f"{wanted}, {some} {' and '.join(sorted(set(found)))}"


def _because(reasons: Iterable[str]) -> str:
    told = [reason for reason in dict.fromkeys(reasons) if reason]
    return f" ({'; '.join(told)})" if told else ""
