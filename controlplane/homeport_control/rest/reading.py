"""The body of a request, read within bounds: of size, of time, and of how many large ones there are at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from starlette.requests import Request

from homeport_control.rest.failures import Failure

READ_S = 30.0
SMALL_BYTES = 256 << 10
MOST_LARGE = 4  # of those that are larger; as Python's objects they take many times what they have as text


class Refused(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Bodies:
    def __init__(self, most_bytes: int, read_s: float = READ_S) -> None:
        self._most_bytes = most_bytes
        self._read_s = read_s
        self._large = asyncio.Semaphore(MOST_LARGE)

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """The body; until the end of the block it counts as one that is held. Raises Refused."""
        is_large = False
        try:
            content = bytearray()
            try:
                async with asyncio.timeout(self._read_s):
                    if int(request.headers.get("content-length", "0")) > self._most_bytes:
                        raise self._too_long()
                    async for chunk in request.stream():
                        content += chunk
                        if len(content) > self._most_bytes:
                            raise self._too_long()
                        if len(content) > SMALL_BYTES and not is_large:
                            await self._large.acquire()
                            is_large = True
            except TimeoutError:
                words = f"the body did not come within {self._read_s:g} s; send it at once"
                raise Refused(Failure(grpc.StatusCode.DEADLINE_EXCEEDED.name, words, 408)) from None
            yield bytes(content)
        finally:
            if is_large:
                self._large.release()

    def _too_long(self) -> Refused:
        words = f"the body is longer than {self._most_bytes >> 20} MiB; no call needs that"
        return Refused(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED.name, words, 413))
