"""Logs of a run: from the hosts of its replicas, through the agents' sessions, merged as they come, with back-pressure."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.domain.errors import NotFound
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.replicas import Replica
from homeport_control.store import hosts, replicas, runs
from homeport_control.store.connect import Database

QUEUE_BOUND = 16  # batches; a slow reader holds its own stream back, and with it the agent's credit

ReadLogs = Callable[[str, str, LogQuery], AsyncGenerator[list[LogLine], None]]


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None


class RunLogs:
    def __init__(self, database: Database, read: ReadLogs) -> None:
        self._database = database
        self._read = read

    async def stream(self, request: api_pb2.LogsRequest) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        """Raises NotFound when there is no such run or replica, NotReady when a host cannot be asked."""
        sources = await self._sources(request)
        queue: asyncio.Queue[api_pb2.LogsResponse | _Ended] = asyncio.Queue(QUEUE_BOUND)
        error: Exception | None = None
        tasks = [asyncio.create_task(self._pump(queue, request, replica, host_name)) for replica, host_name in sources]
        try:
            for _ in range(len(tasks)):
                while not isinstance(item := await queue.get(), _Ended):
                    yield item
                error = error or item.error  # the other replicas' logs go on
        finally:  # no TaskGroup: it would wrap the GeneratorExit of a reader that goes away
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if error is not None:
            raise error

    async def _sources(self, request: api_pb2.LogsRequest) -> list[tuple[Replica, str]]:
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, [request.run_name], finished=True)
            if not found:
                raise NotFound(f"no run {request.run_name}; `homeport ps -a` shows all")
            of_run = (await replicas.of_runs(connection, [found[0].id])).get(found[0].id, [])
            names = {host.id: host.name for host in await hosts.list_all(connection)}
        placed = [replica for replica in of_run if replica.host_id]
        if request.HasField("replica"):
            placed = [replica for replica in placed if replica.index == request.replica]
        if not placed:
            which = f"replica {request.replica} of it" if request.HasField("replica") else "none of its replicas"
            tail = found[0].log_tail
            shown = f"; its last lines were: {' | '.join(tail[-5:])}" if tail else ""
            raise NotFound(f"{request.run_name} is {found[0].state}: {which} has a container now{shown}")
        return [(replica, names.get(replica.host_id or "", "?")) for replica in placed]

    async def _pump(
        self,
        queue: "asyncio.Queue[api_pb2.LogsResponse | _Ended]",
        request: api_pb2.LogsRequest,
        replica: Replica,
        host_name: str,
    ) -> None:
        query = LogQuery(replica.id, request.follow, request.tail, request.since_s)
        try:
            async with aclosing(self._read(replica.host_id or "", host_name, query)) as batches:
                async for lines in batches:
                    entries = [
                        api_pb2.LogEntry(
                            replica=replica.index,
                            replica_id=replica.id,
                            text=line.text,
                            stream=line.stream,
                            timestamp=line.timestamp,
                        )
                        for line in lines
                    ]
                    await queue.put(api_pb2.LogsResponse(entries=entries))
        except Exception as error:  # raised again where the reader is
            await queue.put(_Ended(error))
        else:
            await queue.put(_Ended(None))
