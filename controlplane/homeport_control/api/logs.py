"""Logs of a run: whose they are, and in which order they come; words for a run that has none.

Covers the request. How several logs are merged stands in log_merge, how a run is followed in log_follow; the logs
themselves come from the hosts, through the agents' sessions, with back-pressure all the way.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.log_follow import RETRY_S, Follower
from homeport_control.api.log_merge import ReadLogs, ReplicaSource, by_time
from homeport_control.decide.log_sources import shown
from homeport_control.domain.errors import NotFound
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.store import hosts, replicas, runs
from homeport_control.store.connect import Database

__all__ = ["ReadLogs", "RunLogs"]


class RunLogs:
    def __init__(self, database: Database, read: ReadLogs, retry_s: float = RETRY_S) -> None:
        self._database = database
        self._read = read
        self._retry_s = retry_s

    async def stream(self, request: api_pb2.LogsRequest) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        """Raises NotFound when there is no such run, replica or log, NotReady when no host can be asked."""
        run, of_run, names = await self._found(request.run_name)
        index = request.replica if request.HasField("replica") else None
        if index is not None and of_run and not any(replica.index == index for replica in of_run):
            raise NotFound(f"{run.name} has no replica {index}; `homeport ps -v` shows those that it has")
        if request.follow and not request.previous:
            stream = Follower(self._database, self._read, request, run, self._retry_s).stream()
        else:
            stream = self._as_it_is(request, run, of_run, names, index)
        async with aclosing(stream) as responses:
            async for response in responses:
                yield response

    async def _found(self, name: str) -> tuple[Run, Sequence[Replica], dict[str, str]]:
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, [name], finished=True)
            if not found:
                raise NotFound(f"no run {name}; `homeport ps -a` shows all")
            present = await replicas.of_run(connection, found[0].id, ended_since_s=0.0)
            there = await hosts.by_id(connection, {it.host_id for it in present if it.host_id})
        return found[0], present, {host.id: host.name for host in there.values()}

    async def _as_it_is(
        self,
        request: api_pb2.LogsRequest,
        run: Run,
        of_run: Sequence[Replica],
        names: dict[str, str],
        index: int | None,
    ) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        chosen = shown(of_run, index, previous=request.previous)
        if not chosen:
            raise NotFound(_nobody(run, of_run, index, previous=request.previous))
        sources = [
            ReplicaSource(replica, names.get(replica.host_id or "", "a host that was removed")) for replica in chosen
        ]
        try:
            async with aclosing(by_time(sources, request, self._read)) as responses:
                async for response in responses:
                    yield response
        except NotFound:
            raise NotFound(_no_logs(run, chosen)) from None


def _nobody(run: Run, of_run: Sequence[Replica], index: int | None, *, previous: bool) -> str:
    which = "none of its replicas" if index is None else f"replica {index} of it"
    if previous:
        return f"{run.name}: {which} took the place of another one; leave --previous out"
    return f"{run.name} is {run.state}: {which} has a container now{_why(of_run)}{_tail(run)}"


def _no_logs(run: Run, chosen: Sequence[Replica]) -> str:
    if any(replica.ended_at_s is None for replica in chosen):
        return f"{run.name} is {run.state}: its replicas have no container yet{_why(chosen)}{_tail(run)}"
    return f"{run.name} is {run.state}, and its logs are not kept any more{_tail(run)}"


def _why(of_run: Sequence[Replica]) -> str:
    live = next((replica for replica in of_run if replica.ended_at_s is None), None)
    if live is None:
        return ""
    doing = f"{live.phase}: {live.message}" if live.message else live.phase
    return f" (replica {live.index} is {doing})"


def _tail(run: Run) -> str:
    return f"; its last lines were: {' | '.join(run.log_tail[-5:])}" if run.log_tail else ""
