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


def _shared_mib(revision: Revision) -> int:
    """What its replicas reserve of each of their GPUs beside others; 0: they have them whole."""
    asked = spec_from_json(revision.spec_json).resources.gpu
    return (asked.memory_mib.min or 0) if asked is not None and asked.shared and asked.memory_mib else 0


def _gpu_memory(
    replica: Replica,
    revision: Revision,
    shared_mib: int,
    host: Host | None,
    reading: host_pb2.ReplicaReading | None,
) -> GpuMemory | None:
    """None: it has no GPU. `reading`: its host's newest of it."""
    if not replica.gpu_uuids:
        return None
    reserved_mib = shared_mib * len(replica.gpu_uuids)
    if not reserved_mib and host is not None:
        reserved_mib = sum(gpu.memory_total_mib for gpu in host.facts.gpus if gpu.uuid in replica.gpu_uuids)
    now_mib = reading.gpu_memory_mib if reading is not None else None
    return GpuMemory(
        reserved_mib=reserved_mib,
        peak_mib=revision.gpu_memory_peak_mib,
        now_mib=now_mib,
        is_over=bool(shared_mib) and is_over(now_mib or 0, reserved_mib),
    )


def memory_of(
    run: Run, hosts: Callable[[str], Host | None], readings: Readings
) -> Callable[[Replica], GpuMemory | None]:
    """For the replicas of a run."""
    shared_mib: dict[int, int] = {}  # by revision

    def of(replica: Replica) -> GpuMemory | None:
        host_id = replica.host_id or ""
        told = readings.of(host_id)
        reading = told.replicas.get(replica.id) if told is not None and replica.ended_at_s is None else None
        revision = run.revision(replica.revision)
        if revision.number not in shared_mib:
            shared_mib[revision.number] = _shared_mib(revision)
        return _gpu_memory(replica, revision, shared_mib[revision.number], hosts(host_id), reading)

    return of
