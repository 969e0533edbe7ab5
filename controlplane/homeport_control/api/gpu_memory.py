"""PURE: GPU memory of one replica: what it reserved, the most that one of its revision has held, what it holds now."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

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


class Measured(NamedTuple):
    """What is known of one replica's GPU memory, before anything is made of it."""

    revision: Revision
    now_mib: int | None  # None: its host does not tell


class MemoryOf:
    """Of the replicas of a run."""

    def __init__(self, run: Run, hosts: Callable[[str], Host | None], readings: Readings) -> None:
        self._run = run
        self._hosts = hosts
        self._readings = readings
        self._shared_mib: dict[int, int] = {}  # by revision

    def measured(self, replica: Replica) -> Measured:
        told = self._readings.of(replica.host_id or "")
        reading = told.replicas.get(replica.id) if told is not None and replica.ended_at_s is None else None
        return Measured(self._run.revision(replica.revision), None if reading is None else reading.gpu_memory_mib)

    def of(self, replica: Replica) -> GpuMemory | None:
        """None: it has no GPU."""
        if not replica.gpu_uuids:
            return None
        it, host = self.measured(replica), self._hosts(replica.host_id or "")
        shared_mib = self._shared(it.revision)
        reserved_mib = shared_mib * len(replica.gpu_uuids)
        if not reserved_mib and host is not None:
            reserved_mib = sum(gpu.memory_total_mib for gpu in host.facts.gpus if gpu.uuid in replica.gpu_uuids)
        return GpuMemory(
            reserved_mib=reserved_mib,
            peak_mib=it.revision.gpu_memory_peak_mib,
            now_mib=it.now_mib,
            is_over=bool(shared_mib) and is_over(it.now_mib or 0, reserved_mib),
        )

    def _shared(self, revision: Revision) -> int:
        if revision.number not in self._shared_mib:
            self._shared_mib[revision.number] = _shared_mib(revision)
        return self._shared_mib[revision.number]
