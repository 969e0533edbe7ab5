"""The most GPU memory that replicas of a revision have held: gathered from what hosts tell, written now and then.

A peak only grows, so what a server that is killed had not written yet is told again by the agents' next full telemetry.
"""

import asyncio

import structlog
from homeport_protos.common.v1 import host_pb2

from homeport_control.agents import bounds
from homeport_control.domain.errors import NotReady
from homeport_control.store import runs
from homeport_control.store.connect import Database

WRITE_S = 3.0  # between two writes
MOST_PENDING = 2048  # replicas of one host
log = structlog.get_logger()


class Peaks:
    def __init__(self, database: Database, write_s: float = WRITE_S) -> None:
        self._database = database
        self._write_s = write_s
        self._pending: dict[str, dict[str, int]] = {}  # by host and replica: MiB
        self._has_news = asyncio.Event()

    def heard(self, host_id: str, readings: tuple[host_pb2.ReplicaReading, ...]) -> None:
        pending = self._pending.setdefault(host_id, {})
        for reading in readings:
            peak_mib, known_mib = bounds.amount(reading.gpu_memory_peak_mib), pending.get(reading.replica_id)
            if peak_mib > (known_mib or 0) and (known_mib is not None or len(pending) < MOST_PENDING):
                pending[reading.replica_id] = peak_mib
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
                for host_id, peaks in pending.items():
                    for replica_id, mib in peaks.items():
                        await runs.raise_peak(write, host_id, replica_id, mib)
        except NotReady as error:
            log.warning("peaks of GPU memory could not be written", because=str(error))
