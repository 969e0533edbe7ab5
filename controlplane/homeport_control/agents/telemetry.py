"""The newest readings of connected hosts, in memory only: what `fleet get`, `top` and the peaks of revisions are made from.

Covers merging what agents send as changes, its bounds, and telling who watches. Writes nothing down: a sample of a second ago
is worth nothing to a server that starts anew.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2

FIRST_INTERVAL_S = 1.0  # agents take a sample a second
MESSAGES_PER_S = 300.0  # of all hosts together: each costs a fifth of a millisecond, whether anybody looks or not
MOST_INTERVAL_S = 5.0
MOST_GPUS = 128  # of one host, MIG instances too
MOST_REPLICAS = 1024  # of one host
MOST_GPU_BYTES = 64 << 10  # of one GPU's reading: a few hundred processes on it
MOST_BYTES = 4 << 10  # of any other reading


def interval_s(hosts: int) -> float:
    """How often each of so many hosts is to send its readings, in seconds."""
    return min(max(FIRST_INTERVAL_S, hosts / MESSAGES_PER_S), MOST_INTERVAL_S)


@dataclass(slots=True)
class HostReadings:
    """What one host said last. The messages are replaced, never changed: a reader may keep them."""

    host: host_pb2.HostReading | None = None
    gpus: dict[str, host_pb2.GpuReading] = field(default_factory=dict)  # by UUID
    replicas: dict[str, host_pb2.ReplicaReading] = field(default_factory=dict)  # by replica id


class Telemetry:
    """`on_replicas(host_id, readings)` is called with the replicas' readings that came."""

    def __init__(
        self, on_replicas: Callable[[str, tuple[host_pb2.ReplicaReading, ...]], None] = lambda *_: None
    ) -> None:
        self._by_host: dict[str, HostReadings] = {}
        self._on_replicas = on_replicas
        self._watchers: set[asyncio.Event] = set()

    def take(self, host_id: str, message: agent_pb2.Telemetry) -> None:
        """Merge what a host sent. Beyond the bounds new names are not taken, nor readings that are none."""
        known = self._by_host.get(host_id)
        if known is None or message.full:
            known = self._by_host[host_id] = HostReadings(host=known.host if known else None)
        if message.HasField("host") and message.host.ByteSize() <= MOST_BYTES:
            known.host = message.host
        for gpu in message.gpus:
            is_one = gpu.uuid in known.gpus or len(known.gpus) < MOST_GPUS
            if is_one and gpu.ByteSize() <= MOST_GPU_BYTES:
                known.gpus[gpu.uuid] = gpu
        taken = []
        for replica in message.replicas:
            is_one = replica.replica_id in known.replicas or len(known.replicas) < MOST_REPLICAS
            if is_one and replica.ByteSize() <= MOST_BYTES:
                known.replicas[replica.replica_id] = replica
                taken.append(replica)
        if taken:
            self._on_replicas(host_id, tuple(taken))
        self._tell()

    def forget(self, host_id: str) -> None:
        """Its session has ended: what it said is not true any more."""
        if self._by_host.pop(host_id, None) is not None:
            self._tell()

    def of(self, host_id: str) -> HostReadings | None:
        return self._by_host.get(host_id)

    def replicas(self, ids: Iterable[str], host_id: str) -> dict[str, host_pb2.ReplicaReading]:
        """Of those replicas, as far as their host has told."""
        known = self._by_host.get(host_id)
        return {it: known.replicas[it] for it in ids if it in known.replicas} if known else {}

    def watch(self) -> "Watch":
        return Watch(self._watchers)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher.set()


class Watch:
    """A waiting place for new readings of any host. Use as a context manager."""

    def __init__(self, watchers: set[asyncio.Event]) -> None:
        self._watchers = watchers
        self.event = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        self._watchers.add(self.event)
        return self.event

    def __exit__(self, *_: object) -> None:
        self._watchers.discard(self.event)
