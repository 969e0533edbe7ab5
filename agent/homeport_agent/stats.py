"""What replicas use, measured when the server asks: processor and memory by the engine, GPUs by their driver.

Covers requests and their bounds: every one is answered within ANSWER_S, for each replica with numbers or with the
reason why there are none. Does not cover how is measured (engine, gpus).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from homeport_protos.agent.v1 import agent_pb2

from homeport_agent.convert import stats_to_wire
from homeport_agent.engine.base import Engine, EngineError, NoSuchContainer
from homeport_agent.gpus.base import Gpus
from homeport_agent.model import AssignedReplica, GpuUsage, ReplicaUsage
from homeport_agent.outbox import Outbox, SessionClosed
from homeport_agent.runner import Spawn
from homeport_agent.work import container_name

ANSWER_S = 4.5  # the server waits 5 s
REQUESTS = 4  # at once; a page that somebody watches asks one at a time
MEASURED_AT_ONCE = 4  # half of the engine's threads: a Docker that hangs must leave some for what keeps services up


class StatsDesk:
    """assigned: what is known of a replica on this host; None: it is not here."""

    def __init__(
        self,
        engine: Engine,
        gpus: Gpus,
        assigned: Callable[[str], AssignedReplica | None],
        spawn: Spawn,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._engine = engine
        self._gpus = gpus
        self._assigned = assigned
        self._spawn = spawn
        self._answer_s = answer_s
        self._outbox = Outbox()
        self._under_way = 0
        self._turns = asyncio.Semaphore(MEASURED_AT_ONCE)

    def opened(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def requested(self, request: agent_pb2.StatsRequest) -> None:
        self._spawn(self._answer(self._outbox, request.request_id, tuple(dict.fromkeys(request.replica_ids))))

    async def _answer(self, outbox: Outbox, request_id: int, replica_ids: tuple[str, ...]) -> None:
        if self._under_way >= REQUESTS:
            busy = f"this host answers {REQUESTS} requests for numbers already; try again"
            rows = [ReplicaUsage(it, busy) for it in replica_ids]
        else:
            self._under_way += 1
            try:
                rows = await self._measure_all(replica_ids)
            finally:
                self._under_way -= 1
        with suppress(SessionClosed):
            await outbox.put(stats_to_wire(request_id, rows))

    async def _measure_all(self, replica_ids: tuple[str, ...]) -> list[ReplicaUsage]:
        gpus, measured = await asyncio.gather(
            self._gpu_usage(replica_ids), asyncio.gather(*(self._measure(it) for it in replica_ids))
        )
        return [replace(it, gpus=self._own(it, gpus)) for it in measured]

    async def _measure(self, replica_id: str) -> ReplicaUsage:
        if self._assigned(replica_id) is None:
            return ReplicaUsage(replica_id, f"replica {replica_id} is not on this host")
        try:
            async with asyncio.timeout(self._answer_s), self._turns:
                used = await self._engine.usage(container_name(replica_id))
                return ReplicaUsage(replica_id, "", time.monotonic(), used)
        except NoSuchContainer:
            return ReplicaUsage(replica_id, f"replica {replica_id} has no container on this host")
        except EngineError as error:
            return ReplicaUsage(replica_id, str(error))
        except TimeoutError:
            return ReplicaUsage(replica_id, f"Docker did not answer within {self._answer_s:g} s")

    async def _gpu_usage(self, replica_ids: tuple[str, ...]) -> dict[str, GpuUsage]:
        assigned = [self._assigned(it) for it in replica_ids]
        if not any(it is not None and it.gpu_uuids for it in assigned):
            return {}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._answer_s):
                return {it.uuid: it for it in await self._gpus.usage()}
        return {}

    def _own(self, row: ReplicaUsage, known: Mapping[str, GpuUsage]) -> tuple[GpuUsage, ...]:
        """A replica's own GPUs in their order; without numbers where the driver does not give them."""
        assigned = self._assigned(row.replica_id)
        if assigned is None or row.error:
            return ()
        return tuple(known.get(uuid, GpuUsage(uuid)) for uuid in assigned.gpu_uuids)
