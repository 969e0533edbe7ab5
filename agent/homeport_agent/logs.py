"""Container logs on request: read from the engine, sent on the session within the credit that the server gives.

Covers requests, credit and their end. A request never holds more than one batch: without credit it stops reading, so
Docker's own file is the only buffer.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from homeport_protos.agent.v1 import agent_pb2

from homeport_agent.convert import log_end_to_wire, log_lines_to_wire, log_wish_from_wire
from homeport_agent.engine.base import Engine, EngineError, NoSuchContainer
from homeport_agent.model import LogLine, LogWish
from homeport_agent.outbox import Outbox, SessionClosed
from homeport_agent.runner import Spawn
from homeport_agent.work import container_name

BATCH_LINES = 100
BATCH_BYTES = 256 * 1024
LINE_BYTES = 64 * 1024  # a longer one is cut: one line must not outgrow a message
BATCH_PAUSE_S = 0.02  # lines that come together travel together
REQUESTS = 24  # at once, over all replicas; below the engine's threads for streams


@dataclass(slots=True)
class Credit:
    """How many lines may still be sent."""

    lines: int
    has_some: asyncio.Event = field(default_factory=asyncio.Event)

    async def some(self) -> None:
        while self.lines <= 0:
            self.has_some.clear()
            await self.has_some.wait()

    def add(self, lines: int) -> None:
        self.lines += max(0, lines)
        self.has_some.set()


class LogStreams:
    def __init__(self, engine: Engine, spawn: Spawn) -> None:
        self._engine = engine
        self._spawn = spawn
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
        error = ""
        try:
            logs = self._engine.logs(
                container_name(wish.replica_id), tail=wish.tail, since_s=wish.since_s, follow=wish.follow
            )
            async with logs as lines:
                batch: list[LogLine] = []
                size = 0
                pending = asyncio.ensure_future(anext(lines, None))
                try:
                    while True:
                        await credit.some()
                        done, _ = await asyncio.wait([pending], timeout=BATCH_PAUSE_S if batch else None)
                        line = pending.result() if done else None
                        if line is not None:
                            batch.append(_bounded(line))
                            size += len(line.text)
                            credit.lines -= 1
                            pending = asyncio.ensure_future(anext(lines, None))
                        is_full = len(batch) >= BATCH_LINES or size >= BATCH_BYTES or credit.lines <= 0
                        if batch and (line is None or is_full):
                            await outbox.put(log_lines_to_wire(request_id, batch))
                            batch, size = [], 0
                        if done and line is None:
                            break
                finally:
                    pending.cancel()
                    with suppress(asyncio.CancelledError, EngineError):
                        await pending
        except NoSuchContainer:
            error = f"replica {wish.replica_id} has no container on this host"
        except EngineError as failed:
            error = str(failed)
        except SessionClosed:
            return
        await self._end(outbox, request_id, error)

    async def _end(self, outbox: Outbox, request_id: int, error: str) -> None:
        with suppress(SessionClosed):
            await outbox.put(log_end_to_wire(request_id, error))


def _bounded(line: LogLine) -> LogLine:
    if len(line.text) <= LINE_BYTES:
        return line
    return LogLine(line.text[:LINE_BYTES], line.stream, line.timestamp)
