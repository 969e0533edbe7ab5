"""Small writes that come together, in one transaction: a commit waits for the disk, and a thousand agents report at once.

A write that comes alone is a transaction at once. What comes while one is under way waits for it, and is then written
together, in the order in which it came. Each call returns when its own part is committed. When one part of a batch fails,
nothing of the batch is kept and each is tried again in a transaction of its own: so nobody fails for another.

    add ──▶ waiting ──▶ one transaction, at most AT_ONCE parts ──▶ committed: all of them go on

Parts must not rest on each other, nor on what is not in the database: one may run twice, the first time for nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from homeport_control.store import events
from homeport_control.store.connect import Database, Write

AT_ONCE = 64  # others wait for the one write lock

T = TypeVar("T")
Part = Callable[[Write], Awaitable[None]]


async def one_by_one(write: Write, parts: Sequence[Part]) -> None:
    """For `Batches` of what has nothing in common; each has a cause of its own."""
    for part in parts:
        write.cause_id = events.new_cause()
        await part(write)


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    has_begun: bool = False
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def succeed(self) -> None:
        if not self.done.done():  # who waited may be gone
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Batches(Generic[T]):
    """`add` from any task. Its bound is that of its callers: each waits for its part.

    `write_all` writes several parts in a transaction.
    """

    def __init__(self, database: Database, write_all: Callable[[Write, Sequence[T]], Awaitable[None]]) -> None:
        self._database = database
        self._write_all = write_all
        self._waiting: deque[_Waiting[T]] = deque()
        self._working: asyncio.Task[None] | None = None  # while something waits; no caller's own, who may be cancelled

    async def add(self, item: T) -> None:
        """Returns when it is committed. Raises what writing it raises, and NotReady."""
        mine = _Waiting(item)
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
        taken: list[_Waiting[T]] = []
        try:
            async with self._database.write() as write:
                taken = [it for it in self._take() if not it.done.cancelled()]
                await self._write_all(write, [it.item for it in taken])
        except Exception as error:
            if not taken and self._waiting:  # the database cannot be used at all
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

    def _take(self) -> list[_Waiting[T]]:
        taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        for it in taken:
            it.has_begun = True
        return taken

    async def _singly(self, taken: list[_Waiting[T]]) -> None:
        for it in taken:
            try:
                async with self._database.write() as write:
                    await self._write_all(write, [it.item])
            except Exception as error:
                it.fail(error)
            else:
                it.succeed()
