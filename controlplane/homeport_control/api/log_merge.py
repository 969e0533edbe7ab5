"""Logs of several sources, one after the other in time: a merge that holds a few batches of each and no more.

Covers logs that end. What is followed comes as it comes (log_follow).
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from homeport_protos.api.v1 import api_pb2

from homeport_control.domain.errors import HomeportError, NotFound, NotReady
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.replicas import Replica

AHEAD_BATCHES = 2  # of each source, besides the one that is being merged
STALL_S = 20.0  # the others do not wait longer for one that gives nothing
MESSAGE_LINES = 200
MESSAGE_BYTES = 256 * 1024

ReadLogs = Callable[[str, str, LogQuery], AsyncGenerator[list[LogLine], None]]


class Source(Protocol):
    """A log on a host."""

    @property
    def key(self) -> str:
        """Under which a reader keeps how far it has come: LogEntry.replica_id."""

    @property
    def host_id(self) -> str: ...
    @property
    def host_name(self) -> str: ...

    def query(self, *, follow: bool, tail: int, since_s: float, after: str) -> LogQuery: ...
    def entries(self, lines: Sequence[LogLine]) -> list[api_pb2.LogEntry]: ...
    def note(self, said: object) -> api_pb2.LogsResponse: ...


@dataclass(frozen=True, slots=True)
class ReplicaSource:
    replica: Replica
    host_name: str

    @property
    def key(self) -> str:
        return self.replica.id

    @property
    def host_id(self) -> str:
        return self.replica.host_id or ""

    def query(self, *, follow: bool, tail: int, since_s: float, after: str) -> LogQuery:
        return LogQuery(self.replica.id, follow, tail, since_s, after)

    def entries(self, lines: Sequence[LogLine]) -> list[api_pb2.LogEntry]:
        return [
            api_pb2.LogEntry(
                replica=self.replica.index,
                replica_id=self.replica.id,
                revision=self.replica.revision,
                text=line.text,
                stream=line.stream,
                timestamp=line.timestamp,
            )
            for line in lines
        ]

    def note(self, said: object) -> api_pb2.LogsResponse:
        return api_pb2.LogsResponse(note=f"replica {self.replica.index} on {self.host_name}: {said}")


@dataclass(eq=False)
class _Lane:
    source: Source
    query: LogQuery
    queue: "asyncio.Queue[list[api_pb2.LogEntry] | Exception | None]" = field(
        default_factory=lambda: asyncio.Queue(AHEAD_BATCHES)
    )
    entries: "deque[api_pb2.LogEntry]" = field(default_factory=deque)
    failure: HomeportError | None = None
    has_given: bool = False
    _at: str = ""

    async def pump(self, read: ReadLogs) -> None:
        try:
            async with aclosing(read(self.source.host_id, self.source.host_name, self.query)) as batches:
                async for lines in batches:
                    await self.queue.put(self.source.entries(lines))
        except Exception as error:  # raised again where the reader is
            await self.queue.put(error)
        else:
            await self.queue.put(None)

    async def fill(self, stall_s: float) -> bool:
        """Wait for entries. False: there are no more, and `failure` says why when that is not as it should be."""
        while not self.entries:
            try:
                async with asyncio.timeout(stall_s):
                    item = await self.queue.get()
            except TimeoutError:
                item = NotReady(f"nothing came for {stall_s:g} s; its logs are not whole")
            if item is None:
                return False
            if isinstance(item, HomeportError):
                self.failure = item
                return False
            if isinstance(item, Exception):
                raise item
            self.entries.extend(item)
        self.has_given = True
        return True

    def at(self) -> str:
        """The time of the next line, never before the last one's: the lines of one source stay in their order."""
        self._at = max(self._at, self.entries[0].timestamp)
        return self._at


async def by_time(
    sources: Sequence[Source], request: api_pb2.LogsRequest, read: ReadLogs, stall_s: float = STALL_S
) -> AsyncGenerator[api_pb2.LogsResponse, None]:
    """Entries of all, oldest first, then a note for each source that failed.

    Raises what the first one failed with when not a line came of any (NotFound only when all are NotFound).
    """
    lanes = [_Lane(source, _query(source, request)) for source in sources]
    tasks = [asyncio.create_task(lane.pump(read)) for lane in lanes]
    message, size = api_pb2.LogsResponse(), 0
    try:
        heap = [(lane.at(), number) for number, lane in enumerate(lanes) if await lane.fill(stall_s)]
        heapq.heapify(heap)
        while heap:
            lane = lanes[heap[0][1]]
            entry = lane.entries.popleft()
            message.entries.append(entry)
            size += len(entry.text)
            must_wait = not lane.entries and lane.queue.empty()
            if must_wait or len(message.entries) >= MESSAGE_LINES or size >= MESSAGE_BYTES:
                yield message
                message, size = api_pb2.LogsResponse(), 0
            if lane.entries or await lane.fill(stall_s):
                heapq.heapreplace(heap, (lane.at(), heap[0][1]))
            else:
                heapq.heappop(heap)
    finally:  # no TaskGroup: it would wrap the GeneratorExit of a reader that goes away
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if message.entries:
        yield message
    failed = [lane for lane in lanes if lane.failure]
    if failed and len(failed) == len(lanes) and not any(lane.has_given for lane in lanes):
        errors = [lane.failure for lane in failed if lane.failure]
        raise next((error for error in errors if not isinstance(error, NotFound)), errors[0])
    for lane in failed:
        yield lane.source.note(lane.failure)


def _query(source: Source, request: api_pb2.LogsRequest) -> LogQuery:
    after = request.after.get(source.key, "")
    return source.query(follow=False, tail=-1 if after else request.tail, since_s=request.since_s, after=after)
