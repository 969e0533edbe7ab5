"""Container logs on request: read from the engine or from what was kept, sent within the credit that the server gives.

Covers requests, credit and their end. A request never holds more than one batch, and never has more than UNREAD_BYTES
on the way to its reader: then it stops reading, so Docker's own file is the only buffer.
"""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.logs import LogPosition, stamp_before, unix_ns

from homeport_agent.access import access_lines
from homeport_agent.convert import log_end_to_wire, log_lines_to_wire, log_wish_from_wire
from homeport_agent.engine.base import Engine, EngineError, NoSuchContainer
from homeport_agent.envoy.access_log import AccessLog
from homeport_agent.log_archive import LogArchive
from homeport_agent.model import LogLine, LogWish
from homeport_agent.outbox import Outbox, SessionClosed
from homeport_agent.runner import Spawn
from homeport_agent.work import container_name

BATCH_LINES = 100
BATCH_BYTES = 256 * 1024
UNREAD_BYTES = 1024 * 1024  # sent, and not yet taken by the reader
BATCH_PAUSE_S = 0.02  # lines that come together travel together
LAG_S = 2.0  # who follows and is more than this behind reads the files again
REQUESTS = 24  # at once, over all replicas; below the engine's threads for streams


@dataclass(slots=True)
class Credit:
    """How many lines may still be sent, and how many bytes of those sent the reader has not taken."""

    lines: int
    unread: deque[int] = field(default_factory=deque)  # the size of each line on the way
    unread_bytes: int = 0
    has_some: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_left(self) -> bool:
        return self.lines > 0 and self.unread_bytes < UNREAD_BYTES

    async def some(self) -> None:
        while not self.has_left:
            self.has_some.clear()
            await self.has_some.wait()

    def take(self, line: LogLine) -> None:
        self.lines -= 1
        self.unread.append(len(line.text))
        self.unread_bytes += len(line.text)

    def add(self, lines: int) -> None:
        """The reader took so many."""
        self.lines += max(0, lines)
        for _ in range(min(max(0, lines), len(self.unread))):
            self.unread_bytes -= self.unread.popleft()
        self.has_some.set()


class LogStreams:
    def __init__(
        self,
        engine: Engine,
        spawn: Spawn,
        archive: LogArchive | None = None,
        access: Callable[[str], AccessLog] | None = None,
    ) -> None:
        """`access`: the access log of a gateway, by its name."""
        self._engine = engine
        self._spawn = spawn
        self._archive = archive
        self._access = access
        self._outbox = Outbox()
        self._requests: dict[int, tuple[asyncio.Task[None], Credit]] = {}

    def opened(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def requested(self, request: agent_pb2.LogRequest) -> None:
        self.cancelled(request.request_id)
        outbox, credit = self._outbox, Credit(request.credit)
        work: Coroutine[Any, Any, None]
        if len(self._requests) >= REQUESTS:
            work = self._end(
                outbox, request.request_id, f"this host answers {REQUESTS} log requests already; try again"
            )
        else:
            work = self._answer(outbox, request.request_id, log_wish_from_wire(request), credit)
        task = self._spawn(work)
        self._requests[request.request_id] = (task, credit)
        task.add_done_callback(lambda done: self._forget(request.request_id, done))

    def credited(self, request_id: int, lines: int) -> None:
        if request_id in self._requests:
            self._requests[request_id][1].add(lines)

    def cancelled(self, request_id: int) -> None:
        found = self._requests.pop(request_id, None)
        if found is not None:
            found[0].cancel()

    def closed(self) -> None:
        for request_id in list(self._requests):
            self.cancelled(request_id)

    def _forget(self, request_id: int, done: "asyncio.Task[None]") -> None:
        found = self._requests.get(request_id)
        if found is not None and found[0] is done:
            del self._requests[request_id]

    async def _answer(self, outbox: Outbox, request_id: int, wish: LogWish, credit: Credit) -> None:
        error, is_absent = "", False
        batch = _Batch()
        sending = asyncio.ensure_future(self._send(outbox, request_id, batch))
        try:
            async with aclosing(self._lines(wish)) as lines:
                await credit.some()
                async for line in lines:
                    credit.take(line)
                    await batch.put(line)
                    if not credit.has_left:
                        batch.flush()
                        await credit.some()
        except NoSuchContainer:
            is_absent, error = (
                True,
                f"replica {wish.replica_id} has no container on this host, and no logs of it are kept",
            )
        except EngineError as failed:
            error = str(failed)
        except (OSError, EOFError, zlib.error) as failed:
            which = "access log" if wish.access else f"kept logs of replica {wish.replica_id}"
            error = f"the {which} cannot be read: {failed}"
        except BaseException:
            sending.cancel()
            raise
        batch.close()
        await sending
        await self._end(outbox, request_id, error, is_absent=is_absent)

    async def _send(self, outbox: Outbox, request_id: int, batch: "_Batch") -> None:
        with suppress(SessionClosed):  # the request is cancelled with its session
            while lines := await batch.get():
                await outbox.put(log_lines_to_wire(request_id, lines))

    async def _lines(self, wish: LogWish) -> AsyncGenerator[LogLine, None]:
        """From the container while there is one, then from what was kept of it, without a gap. Raises EngineError, OSError."""
        if wish.access and self._access is not None:
            async with aclosing(access_lines(self._access(wish.gateway), wish)) as lines:
                async for line in lines:
                    yield line
            return
        position, tail = LogPosition(wish.after), wish.tail
        archive = self._archive
        try:
            async with aclosing(self._of_container(wish, position)) as lines:
                async for line in lines:
                    yield line
            if archive is None or not position or not archive.has(wish.replica_id):
                return
            tail = -1  # the container went while it was read
        except NoSuchContainer:
            if archive is None or not archive.has(wish.replica_id):
                raise
            tail = -1 if str(position) != wish.after else tail
        oldest = stamp_before(wish.since_s)

        def is_wanted(line: LogLine) -> bool:
            return line.timestamp >= oldest and not position.has(line.stream, line.timestamp)

        async with aclosing(archive.read(wish.replica_id, tail=tail, wanted=is_wanted)) as batches:
            async for batch in batches:
                for line in batch:
                    yield line

    async def _of_container(self, wish: LogWish, position: LogPosition) -> AsyncGenerator[LogLine, None]:
        """What its file has, then, with `follow`, what is written to it; `position` is moved.

        Docker's own follow jumps over the files that were rotated away under a reader who is slow. So one who lags
        reads what there is, as often as it takes, and follows only when it is up to date.
        """
        tail, since_s, is_behind = wish.tail, wish.since_s, True
        while True:
            had, began_s = LogPosition(str(position)), time.monotonic()
            async with self._engine.logs(
                container_name(wish.replica_id),
                tail=tail,
                since_s=since_s,
                follow=wish.follow and not is_behind,
                since_ns=had.oldest_ns,
            ) as lines:
                lags = False
                async for line in lines:
                    if had.has(line.stream, line.timestamp):
                        continue
                    yield line
                    position.note(line.stream, line.timestamp)
                    if not is_behind and _age_s(line) > LAG_S:
                        lags = True
                        break
            if not wish.follow or not (is_behind or lags):
                return
            if not position and (tail >= 0 or since_s):
                # Nothing that is wanted was there: all that comes from now on is.
                position.start_at(stamp_before(time.monotonic() - began_s))
            tail, since_s = -1, 0.0
            is_behind = lags or (is_behind and time.monotonic() - began_s > LAG_S)

    async def _end(self, outbox: Outbox, request_id: int, error: str, *, is_absent: bool = False) -> None:
        with suppress(SessionClosed):
            await outbox.put(log_end_to_wire(request_id, error, is_absent=is_absent))


class _Batch:
    """Lines that wait for their message: put together for BATCH_PAUSE_S, or until it is full."""

    def __init__(self) -> None:
        self._lines: list[LogLine] = []
        self._size = 0
        self._is_closed = False
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, line: LogLine) -> None:
        self._lines.append(line)
        self._size += len(line.text)
        self._news.set()
        if len(self._lines) >= BATCH_LINES or self._size >= BATCH_BYTES:
            self._full.set()
            self._room.clear()
            await self._room.wait()

    def flush(self) -> None:
        """What is there goes now: more cannot come before it is read."""
        self._full.set()

    def close(self) -> None:
        self._is_closed = True
        self._news.set()
        self._full.set()

    async def get(self) -> list[LogLine]:
        """Empty: there are no more."""
        await self._news.wait()
        if not self._full.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(BATCH_PAUSE_S):
                    await self._full.wait()
        lines, self._lines, self._size = self._lines, [], 0
        if not self._is_closed:
            self._news.clear()
            self._full.clear()
        self._room.set()
        return lines


def _age_s(line: LogLine) -> float:
    return time.time() - unix_ns(line.timestamp) / 1e9
