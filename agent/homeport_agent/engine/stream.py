"""A blocking stream, read in a thread, handed to asyncio item by item; cancelled by closing its socket.

Covers the crossing only: bounded (a slow reader slows the stream), cancellable, with the thread gone before it is
left. Does not cover what the items are (docker).
"""

import asyncio
import contextlib
import threading
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
    """

    def __init__(self, executor: Executor, open_it: Callable[[], tuple[Any, Iterator[Item]]]) -> None:
        self._executor = executor
        self._open_it = open_it
        self._queue: asyncio.Queue[object] = asyncio.Queue(_QUEUED_ITEMS)
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
        while not self._queue.empty():  # let a pump that waits for room see that nobody reads any more
            self._queue.get_nowait()

    async def _items(self) -> AsyncIterator[Item]:
        while (item := await self._queue.get()) is not _END:
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
                if self._is_left.is_set() or not self._put(loop, item):
                    return
        except Exception as error:  # handed to the reader, who gives it a meaning
            last = error
        finally:
            response.close()
        if self._put(loop, last) and last is not _END:
            self._put(loop, _END)

    def _put(self, loop: asyncio.AbstractEventLoop, item: object) -> bool:
        if self._is_left.is_set():
            return False
        try:
            waiting = asyncio.run_coroutine_threadsafe(self._queue.put(item), loop)
        except RuntimeError:  # the loop is closed
            return False
        while not self._is_left.is_set():
            with contextlib.suppress(TimeoutError):
                waiting.result(timeout=0.5)
                return True
        waiting.cancel()
        return False


def _call(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(what, *args)
