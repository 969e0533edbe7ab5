"""What the API asks of the newest readings; the room of agents has them, the app joins the two."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from homeport_protos.common.v1 import host_pb2


class HostReadings(Protocol):
    @property
    def host(self) -> host_pb2.HostReading | None: ...
    @property
    def gpus(self) -> Mapping[str, host_pb2.GpuReading]: ...
    @property
    def replicas(self) -> Mapping[str, host_pb2.ReplicaReading]: ...


class Readings(Protocol):
    def of(self, host_id: str) -> HostReadings | None:
        """None: the host is not connected, or has told nothing yet."""

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """Set when a host has told something new; the reader clears it."""
