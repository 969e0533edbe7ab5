"""GPUs as a page shows them: memory by whom, utilisation, temperature, health. Pure.

What the GPU or its driver does not tell is empty, never a zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

from homeport_control.dashboard.words import gb_of, gpu_name, percent, tone

MOST_HOLDERS = 6  # that a line names


@dataclass(frozen=True, slots=True)
class Holder:
    text: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class GpuCell:
    index: int  # place in the host's list; a name for the eye only
    uuid: str
    name: str
    memory: str
    ours_percent: int  # of its memory: what our replicas hold
    other_percent: int  # what others hold
    reserved_percent: int  # claimed by ours, and not held yet
    utilisation: int | None
    temperature: str
    power: str
    health: str
    tone: str
    is_cordoned: bool
    holders: tuple[Holder, ...]
    more: int  # holders that are not named


def gpu_cells(
    host: api_pb2.Host, before: tuple[api_pb2.Host, tuple[GpuCell, ...]] | None = None
) -> tuple[GpuCell, ...]:
    """`before`: of the same host, from which is taken what is the same."""
    readings = {it.uuid: it for it in host.gpu_readings}
    uses = {it.uuid: it for it in host.gpus}
    nothing, none = host_pb2.GpuReading(), api_pb2.GpuUse()
    gpus = host.facts.gpus
    if before is None or before[0].facts != host.facts or before[0].gpus != host.gpus:
        return tuple(
            _cell(index, gpu, readings.get(gpu.uuid, nothing), uses.get(gpu.uuid, none))
            for index, gpu in enumerate(gpus)
        )
    old = {it.uuid: it for it in before[0].gpu_readings}
    cells = []
    for cell in before[1]:
        reading = readings.get(cell.uuid, nothing)
        if old.get(cell.uuid, nothing) != reading:
            cells.append(_cell(cell.index, gpus[cell.index], reading, uses.get(cell.uuid, none)))
        else:
            cells.append(cell)
    return tuple(cells)


def used_mib_of(host: api_pb2.Host) -> int:
    """Of all its GPUs."""
    told = {it.uuid: it.memory_used_mib for it in host.gpu_readings if it.HasField("memory_used_mib")}
    return sum(told.get(gpu.uuid, gpu.memory_used_mib) for gpu in host.facts.gpus)


def _cell(index: int, gpu: host_pb2.Gpu, reading: host_pb2.GpuReading, use: api_pb2.GpuUse) -> GpuCell:
    used = reading.memory_used_mib if reading.HasField("memory_used_mib") else gpu.memory_used_mib
    total = gpu.memory_total_mib
    processes = reading.processes or gpu.processes
    others = [it for it in processes if not it.replica_id]
    ours_mib = _ours_mib(used, use, processes, others)
    held = [Holder(it, True) for it in use.holders] + [Holder(_process(it), False) for it in others]
    ours = percent(ours_mib, total)
    other = min(percent(used - ours_mib, total), 100 - ours)
    memory = gb_of(used, total) if total else "the host's memory" if gpu.unified_memory else ""
    return GpuCell(
        index=index,
        uuid=gpu.uuid,
        name=gpu_name(gpu.name),
        memory="cut into MIG instances" if gpu.mig_enabled else memory,
        ours_percent=ours,
        other_percent=other,
        reserved_percent=min(percent(max(0, use.reserved_mib - ours_mib), total), 100 - ours - other),
        utilisation=round(reading.utilisation * 100) if reading.HasField("utilisation") else None,
        temperature=f"{reading.temperature_c:.0f} °C" if reading.HasField("temperature_c") else "",
        power=f"{reading.power_w:.0f} W" if reading.HasField("power_w") else "",
        health=use.health,
        tone=tone(use.health),
        is_cordoned=use.cordoned,
        holders=tuple(held[:MOST_HOLDERS]),
        more=max(0, len(held) - MOST_HOLDERS),
    )


def _ours_mib(
    used: int, use: api_pb2.GpuUse, processes: Sequence[host_pb2.GpuProcess], others: Sequence[host_pb2.GpuProcess]
) -> int:
    """By the processes that are known to be ours; where none is told, all is whose claim stands alone on it."""
    told = [it.memory_mib for it in processes if it.replica_id and it.HasField("memory_mib")]
    if told:
        return min(used, sum(told))
    return used if use.holders and not others else 0


def _process(it: host_pb2.GpuProcess) -> str:
    where = f" in {it.container}" if it.container else ""
    size = f" {it.memory_mib / 1024:.1f} GB" if it.HasField("memory_mib") else ""
    return f"{it.name or 'a process'}{where} (pid {it.pid}){size}"
