"""A thread that does one call at a time for the event loop, and whose call may never come back.

Covers the thread and its deadline. Daemon threads, and not concurrent.futures: its threads are joined at exit, so that one
call that hangs in the kernel would hold the agent's end for ever.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Worker:
    """One call at a time: while `is_busy`, the last one has not come back and no other is begun."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._since_s: float | None = None

    @property
    def is_busy(self) -> bool:
        return self._since_s is not None

    @property
    def busy_s(self) -> float:
        """For how long the call that runs has not come back, in seconds; 0 when none runs."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def begin(self, what: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        """Start the call; raises RuntimeError while another one runs."""
        if self.is_busy:
            raise RuntimeError(f"{self._name} is busy")
        self._since_s = time.monotonic()
        if self._thread is None:
            self._thread = self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._jobs.put((what, future, loop))
        return future

    def stop(self) -> None:
        """The thread ends after the call that runs, if that ever comes back."""
        self._jobs.put(None)

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            what, future, loop = job
            answer, error = None, None
            try:
                answer = what()
            except Exception as raised:
                error = raised
            self._since_s = None
            try:
                loop.call_soon_threadsafe(_settle, future, answer, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            del job, what, future, answer, error  # nothing is kept alive while the thread waits


def _settle(future: "asyncio.Future[Any]", answer: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
        return
    future.set_exception(error)
    future.exception()  # it may come after its deadline, when nobody asks for it any more
