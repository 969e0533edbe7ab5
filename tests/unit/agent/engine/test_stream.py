import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from homeport_agent.engine.stream import ThreadStream


class Response:
    """What CancellableStream and the pump ask of a response, over an iterator that a test feeds."""

    def __init__(self) -> None:
        self.is_closed = threading.Event()
        self.raw = self
        self.closed = False
        self._fp = self
        self.fp = self
        self._sock = self

    def shutdown(self, how: int) -> None:
        self.is_closed.set()

    def close(self) -> None:
        self.is_closed.set()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_items_come_in_order_and_the_stream_ends(executor: ThreadPoolExecutor) -> None:
    async with ThreadStream(executor, lambda: (Response(), iter(range(1000)))) as items:
        assert [item async for item in items] == list(range(1000))


async def test_an_error_on_opening_is_raised_on_entering(executor: ThreadPoolExecutor) -> None:
    def open_it() -> Any:
        raise ValueError("no way")

    with pytest.raises(ValueError, match="no way"):
        async with ThreadStream(executor, open_it):
            pytest.fail("it was entered")


async def test_an_error_in_mid_stream_reaches_the_reader_after_the_items(executor: ThreadPoolExecutor) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("cut")

    async with ThreadStream(executor, lambda: (Response(), items())) as stream:
        assert await anext(stream) == 1
        with pytest.raises(OSError, match="cut"):
            await anext(stream)


async def test_a_slow_reader_slows_the_stream(executor: ThreadPoolExecutor) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100_000):
            made.append(number)
            yield number

    async with asyncio.timeout(10), ThreadStream(executor, lambda: (Response(), items())) as stream:
        await anext(stream)
        assert len(made) < 1000


async def test_leaving_closes_the_socket_and_ends_the_thread(executor: ThreadPoolExecutor) -> None:
    response = Response()

    def items() -> Iterator[int]:
        yield 1
        response.is_closed.wait(10)  # as a read that nothing comes to

    began_s = time.monotonic()
    async with ThreadStream(executor, lambda: (response, items())) as stream:
        assert await anext(stream) == 1
    assert response.is_closed.is_set()
    assert await asyncio.wrap_future(executor.submit(lambda: 7)) == 7  # the pool's one thread is free again
    assert time.monotonic() - began_s < 5
