"""The most GPU memory that replicas of a revision have held: gathered from what hosts tell, written now and then.

A peak only grows, so what a server that is killed had not written yet is told again by the agents' next full telemetry.
"""

import asyncio

import structlog
from homeport_protos.common.v1 import host_pb2

from homeport_control.domain.errors import NotReady
from homeport_control.store import runs
from homeport_control.store.connect import Database

WRITE_S = 3.0  # between two writes
MOST_PENDING = 20_000
log = structlog.get_logger()


class Peaks:
    def __init__(self, database: Database, write_s: float = WRITE_S) -> None:
        self._database = database
        self._write_s = write_s
        self._pending: dict[tuple[str, str], int] = {}  # by host and replica: MiB
        self._has_news = asyncio.Event()

    def heard(self, host_id: str, readings: tuple[host_pb2.ReplicaReading, ...]) -> None:
        for reading in readings:
            key = (host_id, reading.replica_id)
            if reading.gpu_memory_peak_mib > self._pending.get(key, 0) and len(self._pending) < MOST_PENDING:
                self._pending[key] = reading.gpu_memory_peak_mib
                self._has_news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_news.wait()
            await self.flush()
            await asyncio.sleep(self._write_s)

    async def flush(self) -> None:
        """Write what was heard since the last time."""
        self._has_news.clear()
        pending, self._pending = self._pending, {}
        try:
            async with self._database.write() as write:
                for (host_id, replica_id), mib in pending.items():
                    await runs.raise_peak(write, host_id, replica_id, mib)
        except NotReady as error:
            log.warning("peaks of GPU memory could not be written", because=str(error))
