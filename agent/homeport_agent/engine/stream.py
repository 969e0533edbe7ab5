"""A blocking stream, read in a thread, handed to asyncio item by item; cancelled by closing its socket.

Covers the crossing only: bounded (a slow reader slows the stream), cancellable, with the thread gone before it is
left. Does not cover what the items are (docker).
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from docker.types import CancellableStream

Item = TypeVar("Item")
_END = object()
_QUEUED_ITEMS = 256
_OPEN_S = 30.0


class ThreadStream(Generic[Item]):
    """`async with ThreadStream(executor, open_it) as items: async for item in items: …`

    open_it: blocking; returns the response and an iterator over it. Its errors are raised on entering.
    weigh, capacity: what an item counts, and how much may wait for the reader.
    """

    def __init__(
        self,
        executor: Executor,
        open_it: Callable[[], tuple[Any, Iterator[Item]]],
        *,
        weigh: Callable[[Item], int] = lambda _: 1,
        capacity: int = _QUEUED_ITEMS,
    ) -> None:
        self._executor = executor
        self._open_it = open_it
        self._weigh = weigh
        self._room = capacity
        self._queue: deque[tuple[object, int]] = deque()
        self._turn = threading.Condition()  # held to touch the queue and its room
        self._news = asyncio.Event()
        self._stream: CancellableStream[Item] | None = None
        self._is_left = threading.Event()
        self._thread: asyncio.Future[None] | None = None

    async def __aenter__(self) -> AsyncIterator[Item]:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._thread = loop.run_in_executor(self._executor, self._pump, loop, opened)
        try:
            async with asyncio.timeout(_OPEN_S):
                await opened
        except BaseException:
            self._leave()
            raise
        return self._items()

    async def __aexit__(self, *_: object) -> None:
        self._leave()
        if self._thread is not None:
            # The socket is closed, so the thread ends at once; were it stuck, we would not wait for it for ever.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._thread), 2.0)

    def _leave(self) -> None:
        self._is_left.set()
        if self._stream is not None:
            with contextlib.suppress(Exception):  # it may have ended by itself in the meantime
                self._stream.close()
        with self._turn:
            self._queue.clear()
            self._turn.notify_all()  # let a pump that waits for room see that nobody reads any more

    async def _items(self) -> AsyncIterator[Item]:
        while True:
            with self._turn:
                found = self._queue.popleft() if self._queue else None
                if found is None:
                    self._news.clear()
                else:
                    self._room += found[1]
                    self._turn.notify()
            if found is None:
                await self._news.wait()
                continue
            item = found[0]
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]

    def _pump(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        """In the thread."""

        def settle(error: BaseException | None) -> None:
            if opened.done():
                return
            opened.set_exception(error) if error else opened.set_result(None)

        try:
            response, items = self._open_it()
            self._stream = CancellableStream(items, response)
        except BaseException as error:  # handed to the task that waits
            _call(loop, settle, error)
            return
        _call(loop, settle, None)
        last: object = _END
        try:
            for item in items:
                if not self._put(loop, item, self._weigh(item)):
                    return
        except Exception as error:  # handed to the reader, who gives it a meaning
            last = error
        finally:
            response.close()
        if self._put(loop, last, 0) and last is not _END:
            self._put(loop, _END, 0)

    def _put(self, loop: asyncio.AbstractEventLoop, item: object, weight: int) -> bool:
        """False when nobody reads any more. A loop that is only woken when it may be waiting has little to do."""
        with self._turn:
            while self._room <= 0 and weight and not self._is_left.is_set():
                self._turn.wait(1.0)
            if self._is_left.is_set() or loop.is_closed():
                return False
            self._queue.append((item, weight))
            self._room -= weight
            is_first = len(self._queue) == 1
        if is_first:
            _call(loop, self._news.set)
        return True


def _call(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(what, *args)
