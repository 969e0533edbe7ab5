"""PURE: GPU memory of one replica: what it reserved, the most that one of its revision has held, what it holds now."""

from collections.abc import Callable
from dataclasses import dataclass

from homeport_protos.common.v1 import host_pb2
from homeport_protos.gpu_memory import is_over

from homeport_control.api.readings import Readings
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Revision, Run
from homeport_control.spec.service import spec_from_json


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """MiB, of all GPUs of the replica."""

    reserved_mib: int
    peak_mib: int | None  # None: not measured yet
    now_mib: int | None  # None: its host does not tell
    is_over: bool  # a shared one that holds more than it reserved


def gpu_memory(
    replica: Replica, revision: Revision, host: Host | None, reading: host_pb2.ReplicaReading | None
) -> GpuMemory | None:
    """None: it has no GPU. `reading`: its host's newest of it."""
    if not replica.gpu_uuids:
        return None
    asked = spec_from_json(revision.spec_json).resources.gpu
    shared_mib = (asked.memory_mib.min or 0) if asked is not None and asked.shared and asked.memory_mib else 0
    whole_mib = sum(gpu.memory_total_mib for gpu in host.facts.gpus if gpu.uuid in replica.gpu_uuids) if host else 0
    now_mib = reading.gpu_memory_mib if reading is not None else None
    return GpuMemory(
        reserved_mib=shared_mib * len(replica.gpu_uuids) or whole_mib,
        peak_mib=revision.gpu_memory_peak_mib,
        now_mib=now_mib,
        is_over=bool(shared_mib) and is_over(now_mib or 0, shared_mib * len(replica.gpu_uuids)),
    )


def memory_of(
    run: Run, hosts: Callable[[str], Host | None], readings: Readings
) -> Callable[[Replica], GpuMemory | None]:
    """For the replicas of a run."""

    def of(replica: Replica) -> GpuMemory | None:
        host_id = replica.host_id or ""
        told = readings.of(host_id)
        reading = told.replicas.get(replica.id) if told is not None and replica.ended_at_s is None else None
        return gpu_memory(replica, run.revision(replica.revision), hosts(host_id), reading)

    return of
