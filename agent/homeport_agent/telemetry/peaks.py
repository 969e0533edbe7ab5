"""PURE: what each replica holds of its GPUs now and has held at most, and which one holds more than it reserved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.gpu_memory import gigabytes, is_over

from homeport_agent.gpus.model import Finding, GpuReading, Severity
from homeport_agent.model import AssignedReplica
from homeport_agent.telemetry.model import ReplicaReading


@dataclass(frozen=True, slots=True)
class Held:
    """Remembered from sample to sample."""

    container_id: str = ""
    peak_mib: int = 0


def held(
    before: Mapping[str, Held],
    running: Mapping[str, tuple[AssignedReplica, str]],
    readings: Sequence[GpuReading],
) -> tuple[dict[str, Held], tuple[ReplicaReading, ...]]:
    """`running`: by replica id what it was assigned and its container's id. A peak belongs to one container.

    Where the driver names no process of a replica, what its own GPUs hold is its: nobody else has them. What the driver
    itself holds of an empty GPU is in that; it is not told apart.
    """
    after, told = {}, []
    for replica_id, (assigned, container_id) in sorted(running.items()):
        mine = [it for it in readings if it.uuid in assigned.gpu_uuids]
        if not mine:
            continue
        now_mib = sum(_of(it, replica_id, assigned) for it in mine)
        known = before.get(replica_id, Held())
        peak_mib = max(now_mib, known.peak_mib if known.container_id == container_id else 0)
        after[replica_id] = Held(container_id, peak_mib)
        told.append(ReplicaReading(replica_id, now_mib, peak_mib))
    return after, tuple(told)


def _of(reading: GpuReading, replica_id: str, assigned: AssignedReplica) -> int:
    named = [it for it in reading.processes if it.replica_id == replica_id]
    if named and all(it.memory_mib is not None for it in named):
        return sum(it.memory_mib or 0 for it in named)
    is_alone = not assigned.gpus_shared and all(it.replica_id == replica_id for it in reading.processes)
    return (reading.memory_used_mib or 0) if named and is_alone else 0


def over(
    running: Mapping[str, tuple[AssignedReplica, str]], told: Sequence[ReplicaReading], now_s: float,
    known: Sequence[Finding] = (),
) -> tuple[Finding, ...]:  # fmt: skip
    """A warning for each shared replica that holds more than it reserved. `known`: those of before, for their beginning."""
    since_s = {it.gpu_uuid: it.since_s for it in known}
    found = []
    for reading in told:
        assigned = running[reading.replica_id][0]
        reserved_mib = assigned.gpu_memory_mib * len(assigned.gpu_uuids)
        if assigned.gpus_shared and is_over(reading.gpu_memory_mib, reserved_mib):
            uuid = assigned.gpu_uuids[0]
            found.append(
                Finding(
                    code="over-reservation",
                    severity=Severity.WARNING,
                    reason=f"replica {assigned.index} of {assigned.run_name} holds {gigabytes(reading.gpu_memory_mib)}, "
                    f"it reserved {gigabytes(reserved_mib)}",
                    action="reserve what it needs (`memory` of its `gpu`), or make it use less",
                    since_s=since_s.get(uuid, now_s),
                    gpu_uuid=uuid,
                )
            )
    return tuple(found)
