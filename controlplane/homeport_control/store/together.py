"""Who comes while one is served waits, and is then served together with all who came meanwhile: for batches.py and loader.py.

    add ──▶ waiting ──▶ `serve` takes AT_ONCE of them at most, and answers each ──▶ they go on

One that comes alone is served at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

AT_ONCE = 64  # others wait for the same lock, or for their turn on the event loop

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Waiting(Generic[T, R]):
    item: T
    has_begun: bool = False
    done: "asyncio.Future[R]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def succeed(self, result: R) -> None:
        if not self.done.done():  # who waited may be gone
            self.done.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Together(Generic[T, R]):
    """`add` from any task. Its bound is that of its callers: each waits for its own.

    `serve` takes some and answers all that it took; it is called again while somebody waits.
    """

    def __init__(self, serve: Callable[[], Awaitable[None]]) -> None:
        self._serve = serve
        self._waiting: deque[Waiting[T, R]] = deque()
        self._taken: list[Waiting[T, R]] = []  # the last ones
        self._working: asyncio.Task[None] | None = None  # while something waits; no caller's own, who may be cancelled

    async def add(self, item: T) -> R:
        """Its answer. Raises what it was answered with."""
        mine: Waiting[T, R] = Waiting(item)
        self._waiting.append(mine)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        try:
            return await asyncio.shield(mine.done)
        except asyncio.CancelledError:
            if not mine.has_begun:
                mine.done.cancel()
            while not mine.done.done():  # as with a statement of its own, it ends when that does (patience)
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([mine.done])
            if not mine.done.cancelled():
                mine.done.exception()  # looked at, so that it is not reported as forgotten
            raise

    def take(self) -> list[Waiting[T, R]]:
        """The next ones, without those that are gone."""
        self._taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        for it in self._taken:
            it.has_begun = True
        return [it for it in self._taken if not it.done.cancelled()]

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._serve()
        finally:
            self._working = None
            for it in (*self._taken, *self._waiting):  # some are not answered when it was cancelled: the process ends
                it.done.cancel()
            self._taken, self._waiting = [], deque()
