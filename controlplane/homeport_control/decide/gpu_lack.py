"""Why the GPUs of a host do not do: the wrong ones, too few, or in other hands, with who holds what.

Pure text from values; asked only where choice found nothing.
"""

from collections.abc import Iterable, Sequence

from homeport_control.decide.capacity import Capacity, gigabytes
from homeport_control.decide.choice import least_mib, suits
from homeport_control.decide.gpu_room import GpuRoom, is_for_one_process
from homeport_control.decide.gpus import has_capability, has_memory, is_named
from homeport_control.decide.lack import Lack
from homeport_control.decide.progress import plural
from homeport_control.spec.gpu import GpuSpec, memory_range_text
from homeport_control.spec.ranges import range_text


def gpu_lack(free: Capacity, spec: GpuSpec) -> Lack:
    least = spec.count.min or 1
    rooms = [room for room in free.rooms if least == 1 or not room.gpu.mig_parent]
    unfit = _unfit(free, rooms, spec, least)
    if unfit is not None:
        return unfit
    fitting = [room for room in rooms if suits(room, spec)]
    if spec.shared:
        return _no_part(fitting, spec)
    whole = [room for room in fitting if room.is_whole]
    if len(whole) < least:
        return _taken(fitting, whole, spec, least)
    by_size = sorted((room.total_mib for room in whole), reverse=True)
    usable_mib = sum(by_size[: spec.count.max])
    wanted = memory_range_text(spec.total_memory_mib) if spec.total_memory_mib is not None else "any"
    text = f"needs {wanted} of GPU memory in total, {plural(len(whole), 'free GPU')} with {gigabytes(usable_mib)}"
    return Lack("gpu-total", text, usable_mib)


def _unfit(free: Capacity, rooms: Sequence[GpuRoom], spec: GpuSpec, least: int) -> Lack | None:
    """Why the GPUs of the host would not do even if all were free."""
    instances = len(free.rooms) - len(rooms)
    if not rooms and not instances:
        gone = free.host.facts.gpus_unavailable.rstrip(".")
        cut = "they are cut into MIG instances, of which there is none" if free.host.facts.gpus else ""
        why = f" ({gone or cut})" if gone or cut else ""
        return Lack("gpu-none", f"needs {plural(least, 'GPU')}, there are none{why}")
    if spec.vendor not in {None, "nvidia"}:  # agents report GPUs by NVML only
        return Lack("gpu-vendor", f"needs a GPU by {spec.vendor}, there are only ones by nvidia")
    if len(rooms) < least:
        cut = f" ({plural(instances, 'MIG instance')} cannot work together)" if instances else ""
        return Lack("gpu-count", f"needs {plural(least, 'GPU')}, there {_are(len(rooms))}{cut}", len(rooms))
    named = [room for room in rooms if not spec.names or any(is_named(room.gpu, name) for name in spec.names)]
    if len(named) < least:
        return _too_few(
            "gpu-name", f"{least} of {' or '.join(spec.names)}", {room.gpu.name for room in rooms}, len(named)
        )
    able = [room for room in named if has_capability(room.gpu, spec.compute_capability)]
    if len(able) < least and spec.compute_capability is not None:
        wanted = range_text(spec.compute_capability, lambda end: f"{end:.1f}")
        found = {room.gpu.compute_capability or "an unknown one" for room in named}
        return _too_few("gpu-capability", f"compute capability {wanted} on {plural(least, 'GPU')}", found, len(able))
    return _too_small(able, spec, least)


def _too_small(able: Sequence[GpuRoom], spec: GpuSpec, least: int) -> Lack | None:
    if spec.shared:
        large = [room for room in able if room.total_mib >= least_mib(spec)]
        wanted, total = gigabytes(least_mib(spec)), spec.total_memory_mib
        if large and total is not None and not any(has_memory(room.total_mib, total) for room in large):
            large, wanted = [], memory_range_text(total)
    else:
        large = [room for room in able if has_memory(room.total_mib, spec.memory_mib)]
        wanted = memory_range_text(spec.memory_mib) if spec.memory_mib is not None else ""
    if len(large) >= least:
        return None
    most_mib = max(room.total_mib for room in able)
    found = {gigabytes(room.total_mib) for room in able}
    if wanted in found and not large:  # a card of 24GB reports a little less
        found = {f"{room.total_mib}MB" for room in able}
    lack = _too_few("gpu-memory", f"{wanted} on {plural(least, 'GPU')}", found, len(large))
    return Lack(lack.kind, lack.text, most_mib)


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"


def _too_few(kind: str, wanted: str, found: set[str], fitting: int) -> Lack:
    some = f"only {fitting} fitting among" if fitting else "there is only"
    return Lack(kind, f"needs {wanted}, {some} {' and '.join(sorted(found))}", fitting)


def _taken(fitting: Sequence[GpuRoom], whole: Sequence[GpuRoom], spec: GpuSpec, least: int) -> Lack:
    """The right GPUs are there, and others have them, or they are not well."""
    held = [room for room in fitting if not room.is_whole]
    reasons = _because(reason for room in held for reason in room.reasons)
    if spec.memory_mib is not None and least == 1:
        largest_mib = max(room.free_mib for room in held)
        text = f"needs {memory_range_text(spec.memory_mib)} on 1 GPU, largest free {gigabytes(largest_mib)}{reasons}"
        return Lack("gpu-taken", text, largest_mib)
    text = f"needs {plural(least, 'GPU')}, {len(whole)} of {len(fitting)} free{reasons}"
    return Lack("gpu-taken", text, len(whole))


def _no_part(fitting: Sequence[GpuRoom], spec: GpuSpec) -> Lack:
    needs_mib = least_mib(spec)
    largest_mib = max((room.free_mib for room in fitting if room.is_shareable), default=0)
    reasons = [reason for room in fitting for reason in _why_no_part(room)]
    needs, largest = gigabytes(needs_mib), gigabytes(largest_mib)
    if needs == largest:
        needs, largest = f"{needs_mib}MB", f"{largest_mib}MB"
    return Lack("gpu-part", f"needs {needs} of a shared GPU, largest free {largest}{_because(reasons)}", largest_mib)


def _why_no_part(room: GpuRoom) -> tuple[str, ...]:
    if not room.barred and is_for_one_process(room.gpu):
        return ("a GPU's compute mode lets in one process only",)
    if room.reasons:
        return room.reasons
    held_mib = room.total_mib - room.free_mib
    return (f"the driver holds {gigabytes(held_mib)} of {gigabytes(room.total_mib)}",) if held_mib else ()


def _because(reasons: Iterable[str]) -> str:
    told = list(dict.fromkeys(reasons))
    return f" ({'; '.join(told)})" if told else ""
