"""The access log of a run: what the gateways that publish it wrote of each request to it, from their hosts as it is there.

That is one gateway; while the run moves to another, both. Covers which, and following it there and over a host's or an agent's
absence. The lines are made by Envoy (xds/access_log): no token and no query is in them.
"""

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.log_follow import LOOK_PAUSE_S, RETRY_S, Following, Seen
from homeport_control.api.log_merge import ReadLogs, by_time
from homeport_control.decide.gateways import choose
from homeport_control.domain.errors import BadRequest, NotFound, NotReady
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Connection, Host
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.services import Run
from homeport_control.spec.service import spec_from_json
from homeport_control.store import gateways, hosts, runs
from homeport_control.store.connect import Database

Publishers = Callable[[str], Collection[str]]  # names of the gateways that were given a run, by its name


@dataclass(frozen=True, slots=True)
class GatewaySource:
    """What one gateway wrote of one run."""

    run_name: str
    gateway: str
    host_id: str
    host_name: str

    @property
    def key(self) -> str:
        return f"{self.host_id}/{self.gateway}"  # a gateway that moves has another log

    def query(self, *, follow: bool, tail: int, since_s: float, after: str) -> LogQuery:
        return LogQuery("", follow, tail, since_s, after, self.run_name, self.gateway)

    def entries(self, lines: Sequence[LogLine]) -> list[api_pb2.LogEntry]:
        return [
            api_pb2.LogEntry(text=it.text, stream=it.stream, timestamp=it.timestamp, replica_id=self.key)
            for it in lines
        ]

    def note(self, said: object) -> api_pb2.LogsResponse:
        return api_pb2.LogsResponse(note=f"gateway {self.gateway} on {self.host_name}: {said}")


@dataclass(frozen=True, slots=True)
class Look:
    """Where the access log of a run is now."""

    run: Run
    gateways: tuple[Gateway, ...]
    hosts: Mapping[str, Host]

    def sources(self) -> list[GatewaySource]:
        at = [(it.name, it.host_id, self.hosts.get(it.host_id)) for it in self.gateways if it.host_id]
        return [
            GatewaySource(self.run.name, name, host_id, host.name if host else "a host that was removed")
            for name, host_id, host in at
        ]

    def seen(self, source: GatewaySource) -> Seen:
        host = self.hosts.get(source.host_id)
        return Seen(host is not None and host.connection is Connection.CONNECTED, self.run.ended_at_s is not None)


class AccessLogs:
    def __init__(self, database: Database, read: ReadLogs, publishers: Publishers, retry_s: float = RETRY_S) -> None:
        self._database = database
        self._read = read
        self._publishers = publishers
        self._retry_s = retry_s

    async def stream(self, request: api_pb2.LogsRequest) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        """Raises NotFound when there is no such run, NotReady when no gateway's host can be asked."""
        if request.previous or request.HasField("replica"):
            raise BadRequest(
                "the access log is the gateway's: it is not of one replica; leave --replica and --previous out"
            )
        now = await self.look(request.run_name)
        if request.follow:
            stream = _Follower(self, self._database, self._read, request, self._retry_s).stream()
        elif sources := now.sources():
            stream = by_time(sources, request, self._read)
        else:
            raise NotReady(f"no gateway that publishes {now.run.name} has a host; `homeport gateway list` says more")
        async with aclosing(stream) as responses:
            async for response in responses:
                yield response

    async def look(self, name: str) -> Look:
        """Raises NotFound."""
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, [name], finished=True)
            if not found:
                raise NotFound(f"no run {name}; `homeport ps -a` shows all")
            known = await gateways.list_all(connection)
            by_id = await hosts.all_by_id(connection)
        run = found[0]
        home = choose(spec_from_json((run.current or run.newest).spec_json).gateway, known)
        names = {*self._publishers(run.name), *([home.name] if home else [])}
        return Look(run, tuple(it for it in known if it.name in names), by_id)


class _Follower(Following):
    """A gateway that the run has left is followed on: the run may come back to it."""

    def __init__(
        self, logs: AccessLogs, database: Database, read: ReadLogs, request: api_pb2.LogsRequest, retry_s: float
    ) -> None:
        super().__init__(self._read_until_over, request, retry_s)
        self._logs = logs
        self._database = database
        self._read_on = read
        self._over = asyncio.Event()  # the run has ended

    async def _look_on(self) -> None:
        with self._database.changes.subscribe("runs", "gateways", "gateway", "hosts") as subscription:
            at_first: set[str] | None = None
            followed: dict[str, GatewaySource] = {}
            while True:
                now = await self._logs.look(self._request.run_name)
                followed |= {source.key: source for source in now.sources()}
                if at_first is None:
                    at_first = set(followed)
                    if not followed:
                        note = f"no gateway that publishes {now.run.name} has a host; waiting for one"
                        await self._queue.put(api_pb2.LogsResponse(note=note))
                for source in followed.values():
                    self._tell(source, now.seen(source), is_new=source.key not in at_first)
                if now.run.ended_at_s is not None:
                    self._over.set()
                    return
                await subscription.wait(self._retry_s)
                await asyncio.sleep(LOOK_PAUSE_S)

    async def _read_until_over(
        self, host_id: str, host_name: str, query: LogQuery
    ) -> AsyncGenerator[list[LogLine], None]:
        """A gateway's log does not end with the run, as a container's does."""
        over = asyncio.ensure_future(self._over.wait())
        try:
            async with aclosing(self._read_on(host_id, host_name, query)) as batches:
                while True:
                    coming = asyncio.ensure_future(anext(batches, None))
                    try:
                        await asyncio.wait((coming, over) if query.follow else (coming,), return_when=FIRST_COMPLETED)
                        lines = coming.result() if coming.done() else None
                    finally:
                        coming.cancel()
                        await asyncio.gather(coming, return_exceptions=True)
                    if lines is None:
                        return
                    yield lines
        finally:
            over.cancel()
