"""Small writes that come together, in one transaction: a commit waits for the disk, and a thousand agents report at once.

A write that comes alone is a transaction at once. What comes while one is under way waits for it, and is then written
together, in the order in which it came. Each call returns when its own part is committed. When one part of a batch fails,
nothing of the batch is kept and each is tried again in a transaction of its own: so nobody fails for another.

    add ──▶ waiting ──▶ one transaction, at most AT_ONCE parts and BATCH_S of work ──▶ committed: all of them go on

Parts must not rest on each other, nor on what is not in the database: one may run twice, the first time for nothing.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from homeport_control.store import events
from homeport_control.store.connect import Database, Write

AT_ONCE = 64
BATCH_S = 0.02  # others wait for the one write lock

Part = Callable[[Write], Awaitable[None]]


@dataclass(slots=True)
class _Waiting:
    part: Part
    actor: str
    has_begun: bool = False
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def begin(self, write: Write) -> None:
        """It has its own actor and cause in the events that it leaves."""
        self.has_begun = True
        write.actor, write.cause_id = self.actor, events.new_cause()
        await self.part(write)

    def succeed(self) -> None:
        if not self.done.done():  # who waited may be gone
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Batches:
    """`add` from any task. Its bound is that of its callers: each waits for its part."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._working: asyncio.Task[None] | None = None  # while something waits; no caller's own, who may be cancelled

    async def add(self, part: Part, actor: str) -> None:
        """Returns when it is committed. Raises what the part raises, and NotReady."""
        mine = _Waiting(part, actor)
        self._waiting.append(mine)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        try:
            await asyncio.shield(mine.done)
        except asyncio.CancelledError:
            if not mine.has_begun:
                mine.done.cancel()
            while not mine.done.done():  # as with a write of its own, it ends when that does (patience)
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([mine.done])
            raise

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._batch()
        finally:
            self._working = None
            for it in self._waiting:  # it was cancelled: the process ends
                it.done.cancel()
            self._waiting.clear()

    async def _batch(self) -> None:
        taken: list[_Waiting] = []
        try:
            async with self._database.write() as write:
                end_s = time.monotonic() + BATCH_S
                while self._waiting and len(taken) < AT_ONCE and time.monotonic() < end_s:
                    taken.append(self._waiting.popleft())
                    if not taken[-1].done.cancelled():
                        await taken[-1].begin(write)
        except Exception as error:
            if not taken:  # the database cannot be used at all
                self._waiting.popleft().fail(error)
            elif len(taken) == 1:
                taken[0].fail(error)
            else:
                await self._singly(taken)
        except BaseException:
            for it in taken:
                it.done.cancel()
            raise
        else:
            for it in taken:
                it.succeed()

    async def _singly(self, taken: list[_Waiting]) -> None:
        for it in taken:
            try:
                async with self._database.write() as write:
                    await it.begin(write)
            except Exception as error:
                it.fail(error)
            else:
                it.succeed()
