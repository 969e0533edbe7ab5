"""Following a run: the logs of its replicas as they come, of new ones as well, until the run has ended.

Covers which replicas are read, and reading on after a container's restart, a host's absence, an agent's restart: what
was read is remembered, so that no line is lost or comes twice. Nothing polls: topics say that something changed.
`Following` and `Pump` do so for any sources; another use of them is access.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from homeport_protos.api.v1 import api_pb2
from homeport_protos.logs import LogPosition

from homeport_control.api.log_merge import ReadLogs, ReplicaSource, Source
from homeport_control.decide.log_sources import followed, shown
from homeport_control.domain.errors import HomeportError, NotFound
from homeport_control.domain.hosts import Connection, Host
from homeport_control.domain.replicas import Phase, Replica
from homeport_control.domain.services import Run
from homeport_control.store import hosts, replicas, runs
from homeport_control.store.connect import Database

QUEUE_BOUND = 4  # messages; a slow reader holds its own stream back, and with it the agent's credit
RETRY_S = 10.0  # the net under a change that was not told
LOOK_PAUSE_S = 0.1  # changes that come together are looked at together
RECENT_S = 600.0

Message = api_pb2.LogsResponse | Exception | None  # None: the end


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a source decides whether it is asked again."""

    is_connected: bool  # its host
    is_over: bool  # it or its run has ended: its logs are complete once they have been read to their end
    phase: Phase | None = None  # of a replica
    restarts: int = 0


class Following(ABC):
    """Pumps of several sources into one stream. Which sources there are, and how they are, says `_look_on`."""

    def __init__(self, read: ReadLogs, request: api_pb2.LogsRequest, retry_s: float) -> None:
        self._read = read
        self._request = request
        self._retry_s = retry_s
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_BOUND)
        self._pumps: dict[str, Pump] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._began_s = time.time()

    async def stream(self) -> AsyncGenerator[api_pb2.LogsResponse, None]:
        """Raises what is a bug; all else is a note."""
        watching = asyncio.create_task(self._watch())
        try:
            yield api_pb2.LogsResponse()  # who reads knows from here on that the server is there
            while (item := await self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:  # no TaskGroup: it would wrap the GeneratorExit of a reader that goes away
            tasks = [watching, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @abstractmethod
    async def _look_on(self) -> None:
        """Tell of sources until the run has ended."""

    async def _watch(self) -> None:
        try:
            await self._look_on()
            await asyncio.gather(*self._tasks.values())
            await self._queue.put(None)
        except Exception as error:  # raised again where the reader is
            await self._queue.put(error)

    def _tell(self, source: Source, seen: Seen, *, is_new: bool) -> None:
        pump = self._pumps.get(source.key)
        if pump is None:
            pump = self._pumps[source.key] = Pump(source, self._request, self._queue, seen, is_new=is_new)
            self._tasks[source.key] = asyncio.create_task(pump.run(self._read, self._retry_s))
        pump.tell(seen)


class Follower(Following):
    def __init__(
        self, database: Database, read: ReadLogs, request: api_pb2.LogsRequest, run: Run, retry_s: float
    ) -> None:
        super().__init__(read, request, retry_s)
        self._database = database
        self._run = run

    async def _look_on(self) -> None:
        with self._database.changes.subscribe("runs", "replicas", "hosts") as subscription:
            run, present, known = await self._look(0.0)
            index = self._request.replica if self._request.HasField("replica") else None
            chosen = {replica.id for replica in shown(present, index)}
            passed_over = frozenset(it.id for it in present if it.ended_at_s is not None and it.id not in chosen)
            if not chosen and run.ended_at_s is None:
                await self._queue.put(api_pb2.LogsResponse(note=waiting_note(run, present, index)))
            while True:
                for replica in followed(present, passed_over, index):
                    host = known.get(replica.host_id or "")
                    source = ReplicaSource(replica, host.name if host else "a host that was removed")
                    self._tell(source, _seen(replica, host, run), is_new=replica.id not in chosen)
                for replica_id in self._pumps.keys() - {replica.id for replica in present}:
                    self._pumps[replica_id].end()
                if run.ended_at_s is not None:
                    return
                await subscription.wait(self._retry_s)
                await asyncio.sleep(LOOK_PAUSE_S)
                run, present, known = await self._look(self._began_s - RECENT_S)

    async def _look(self, ended_since_s: float) -> tuple[Run, Sequence[Replica], dict[str, Host]]:
        async with self._database.read() as connection:
            run = await runs.get(connection, self._run.id)
            present = await replicas.of_run(connection, run.id, ended_since_s=ended_since_s)
            known = await hosts.by_id(connection, {it.host_id for it in present if it.host_id})
        return run, present, known


def _seen(replica: Replica, host: Host | None, run: Run) -> Seen:
    return Seen(
        host is not None and host.connection is Connection.CONNECTED,
        replica.ended_at_s is not None or run.ended_at_s is not None,
        replica.phase,
        replica.restarts,
    )


class Pump:
    """One source, read again whenever there may be more, until it is over."""

    def __init__(
        self,
        source: Source,
        request: api_pb2.LogsRequest,
        queue: "asyncio.Queue[Message]",
        seen: Seen,
        *,
        is_new: bool,
    ) -> None:
        self._source = source
        self._queue = queue
        self._seen = seen
        self._is_new = is_new
        self._position = LogPosition(request.after.get(source.key, ""))
        is_whole = is_new or bool(self._position)
        self._tail = -1 if is_whole else request.tail
        self._since_s = 0.0 if is_whole else request.since_s
        self._newer_than_s: float | None = None  # monotonic; in place of what was asked for, where nothing was found
        self._changed = asyncio.Event()
        self._said = ""

    def tell(self, seen: Seen) -> None:
        if seen != self._seen:
            self._seen = seen
            self._changed.set()

    def end(self) -> None:
        """It is not known any more."""
        self.tell(replace(self._seen, is_over=True))

    async def run(self, read: ReadLogs, retry_s: float) -> None:
        try:
            began_s = time.monotonic()
            tries_left = 2  # of the last reading: a host may be away just then
            while True:
                seen = self._seen
                self._changed.clear()
                error = await self._read_on(read, follow=not seen.is_over)
                if error is None and not self._position and (self._tail >= 0 or self._since_s):
                    # It had nothing that was asked for. Whatever it wrote since the first question is wanted.
                    self._tail, self._newer_than_s = -1, began_s
                is_absent = isinstance(error, NotFound)
                tries_left -= seen.is_over
                is_last = seen.is_over and (error is None or is_absent or tries_left == 0)
                if error is not None and (is_last or not is_absent or not self._is_new):
                    await self._say(self._words(error, seen))
                if is_last:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(retry_s):
                        await self._changed.wait()
        except Exception as error:  # a bug: raised again where the reader is
            await self._queue.put(error)

    async def _read_on(self, read: ReadLogs, *, follow: bool) -> HomeportError | None:
        source = self._source
        since_s = self._since_s if self._newer_than_s is None else time.monotonic() - self._newer_than_s
        query = source.query(follow=follow, tail=self._tail, since_s=since_s, after=str(self._position))
        try:
            async with aclosing(read(source.host_id, source.host_name, query)) as batches:
                async for lines in batches:
                    await self._queue.put(api_pb2.LogsResponse(entries=source.entries(lines)))
                    for line in lines:
                        self._position.note(line.stream, line.timestamp)
                    self._tail, self._since_s, self._newer_than_s, self._said = -1, 0.0, None, ""
        except HomeportError as error:
            return error
        return None

    def _words(self, error: HomeportError, seen: Seen) -> str:
        if not isinstance(error, NotFound):
            return str(error)
        if seen.is_over:
            return "" if self._position else str(error)
        return "it has no container yet; its logs come as soon as it runs"

    async def _say(self, words: str) -> None:
        """Once, until something was read."""
        if words and words != self._said:
            self._said = words
            await self._queue.put(self._source.note(words))


def waiting_note(run: Run, present: Sequence[Replica], index: int | None) -> str:
    which = f"replica {index}" if index is not None else "a replica"
    waiting = next((it.message for it in present if it.ended_at_s is None and it.message), "")
    return f"{run.name} is {run.state}{f' ({waiting})' if waiting else ''}; waiting for {which} of it to run"
