"""PURE: which readings differ enough from what was told last to be told again.

Numbers that tremble have steps; counters, states and who holds memory have none. What was told is kept as it was told, so
that small steps add up to a telling and the receiver is never further off than one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from homeport_agent.gpus.model import GpuProcess, GpuReading
from homeport_agent.telemetry.model import HostReading, ReplicaReading

# As far as a number may be off at the other end.
STEPS: Mapping[str, float] = {
    "memory_used_mib": 16, "memory_free_mib": 16, "memory_reserved_mib": 16, "utilisation": 0.01, "memory_utilisation": 0.01,
    "temperature_c": 1, "power_w": 5, "power_limit_w": 1, "sm_clock_mhz": 30, "memory_clock_mhz": 30,
    # of the host
    "cpu": 0.02, "swap_used_mib": 64, "disk_used_mib": 256, "network_received_bytes_s": 65536, "network_sent_bytes_s": 65536,
    "clock_offset_s": 0.05,
}  # fmt: skip
HOST_STEPS: Mapping[str, float] = {**STEPS, "memory_used_mib": 256}
LOAD_STEP = 0.1
PROCESS_STEP_MIB = 16


@dataclass(frozen=True, slots=True)
class Told:
    """What the receiver knows."""

    host: HostReading | None = None
    gpus: tuple[GpuReading, ...] = ()  # by UUID
    replicas: tuple[ReplicaReading, ...] = ()  # by id


@dataclass(frozen=True, slots=True)
class News:
    full: bool
    host: HostReading | None
    gpus: tuple[GpuReading, ...]
    replicas: tuple[ReplicaReading, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.full or self.host or self.gpus or self.replicas)


def news(told: Told | None, now: Told) -> tuple[News, Told]:
    """What to send, and what is told then. Nothing was told yet, or something is gone: all of it."""
    is_gone = told is not None and (
        {it.uuid for it in told.gpus} - {it.uuid for it in now.gpus}
        or {it.replica_id for it in told.replicas} - {it.replica_id for it in now.replicas}
    )
    if told is None or is_gone:
        return News(True, now.host, now.gpus, now.replicas), now
    gpus_told = {it.uuid: it for it in told.gpus}
    replicas_told = {it.replica_id: it for it in told.replicas}
    gpus = tuple(it for it in now.gpus if it.uuid not in gpus_told or _differs(gpus_told[it.uuid], it, STEPS))
    replicas = tuple(it for it in now.replicas if replicas_told.get(it.replica_id) != it)
    host = (
        now.host if now.host is not None and (told.host is None or _differs(told.host, now.host, HOST_STEPS)) else None
    )
    after = Told(
        host or told.host,
        tuple({**gpus_told, **{it.uuid: it for it in gpus}}[it.uuid] for it in now.gpus),
        now.replicas,
    )
    return News(False, host, gpus, replicas), after


def _differs(old: GpuReading | HostReading, new: GpuReading | HostReading, steps: Mapping[str, float]) -> bool:
    return any(_moved(it.name, getattr(old, it.name), getattr(new, it.name), steps) for it in fields(old))


def _moved(name: str, old: object, new: object, steps: Mapping[str, float]) -> bool:
    if old == new or name == "faults":  # faults are findings, if they last
        return False
    if name == "processes" and isinstance(old, tuple) and isinstance(new, tuple):
        return _processes_moved(old, new)
    if name == "load" and isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        return any(abs(a - b) >= LOAD_STEP for a, b in zip(old, new, strict=True))
    if name in steps and isinstance(old, int | float) and isinstance(new, int | float):
        return abs(new - old) >= steps[name]
    return True


def _processes_moved(old: tuple[GpuProcess, ...], new: tuple[GpuProcess, ...]) -> bool:
    if len(old) != len(new):
        return True
    for a, b in zip(old, new, strict=True):
        if (a.pid, a.name, a.replica_id, a.container) != (b.pid, b.name, b.replica_id, b.container):
            return True
        if (a.memory_mib is None) != (b.memory_mib is None):
            return True
        if abs((a.memory_mib or 0) - (b.memory_mib or 0)) >= PROCESS_STEP_MIB:
            return True
    return False
