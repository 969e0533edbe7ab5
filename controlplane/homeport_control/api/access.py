"""The access log of a run: what its gateway wrote of each request to it, from the gateway's host as it is there.

Covers whose log it is, and following it over a host's or an agent's absence. The lines are made by Envoy
(xds/access_log): no token and no query is in them.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from homeport_protos.api.v1 import api_pb2
from homeport_protos.logs import LogPosition

from homeport_control.api.log_follow import RETRY_S
from homeport_control.api.log_merge import ReadLogs
from homeport_control.domain.errors import BadRequest, HomeportError, NotFound, NotReady
from homeport_control.domain.hosts import Host
from homeport_control.domain.logs import LogQuery
from homeport_control.store import hosts, runs
from homeport_control.store.connect import Database

SOURCE = "access"  # in the place of a replica's id: where a reader stands is kept under it


class AccessLogs:
    def __init__(self, database: Database, read: ReadLogs, gateway: str, retry_s: float = RETRY_S) -> None:
        self._database = database
        self._read = read
        self._gateway = gateway
        self._retry_s = retry_s

    async def stream(self, request: api_pb2.LogsRequest) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        """Raises NotFound when there is no such run, NotReady when the gateway's host cannot be asked."""
        if request.previous or request.HasField("replica"):
            raise BadRequest(
                "the access log is the gateway's: it is not of one replica; leave --replica and --previous out"
            )
        position = LogPosition(request.after.get(SOURCE, ""))
        tail, since_s = (-1, 0.0) if position else (request.tail, request.since_s)
        said = ""
        with self._database.changes.subscribe("hosts", "runs") as subscription:
            while True:
                name, is_over, host = await self._found(request.run_name)
                began_s = time.monotonic()
                query = LogQuery("", request.follow and not is_over, tail, since_s, str(position), name)
                try:
                    if host is None:
                        raise NotReady(f"the gateway {self._gateway} has no host")
                    async with aclosing(self._read(host.id, host.name, query)) as batches:
                        if request.follow:
                            yield api_pb2.LogsResponse()  # who reads knows from here on that the server is there
                        async for lines in batches:
                            entries = [
                                api_pb2.LogEntry(
                                    text=line.text, stream=line.stream, timestamp=line.timestamp, replica_id=SOURCE
                                )
                                for line in lines
                            ]
                            yield api_pb2.LogsResponse(entries=entries)
                            for line in lines:
                                position.note(line.stream, line.timestamp)
                            tail, since_s, said = -1, 0.0, ""
                except HomeportError as error:
                    if not request.follow:
                        raise
                    if str(error) != said:
                        said = str(error)
                        yield api_pb2.LogsResponse(note=said)
                if not request.follow or is_over:
                    return
                if not position:
                    tail, since_s = -1, since_s + time.monotonic() - began_s if tail < 0 else time.monotonic() - began_s
                await subscription.wait(self._retry_s)

    async def _found(self, name: str) -> tuple[str, bool, Host | None]:
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, [name], finished=True)
            if not found:
                raise NotFound(f"no run {name}; `homeport ps -a` shows all")
            every = await hosts.list_all(connection)
        host = next((host for host in every if host.gateway == self._gateway), None)
        return found[0].name, found[0].ended_at_s is not None, host
