"""Answers of a stream as lines of JSON or as server-sent events: pure framing, and the pace of who reads them.

One answer is under way: who reads slowly holds back who sends. While nothing happens an empty line goes out, so that a reader
that is gone is noticed. The call ends with its reader.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import grpc
from google.protobuf.message import Message

from homeport_control.relay.inside import Failed
from homeport_control.rest.failures import Failure
from homeport_control.rest.openapi import EVENTS, LINES
from homeport_control.rest.transcode import answer_of

ALIVE_S = 10.0
FIRST_S = 2.0  # so long the status waits for the first answer: a call that is refused has its own
STREAM_S = 3500.0  # web/connections cuts an answer after an hour
THREAD_BYTES = 32 << 10
OVER = "a stream lasts an hour at the most; begin another one"


class Framing:
    """How one answer, a sign of life, and an error that comes late are written."""

    def __init__(self, accept: str) -> None:
        self._is_events = any(it.partition(";")[0].strip() == EVENTS for it in accept.lower().split(","))
        self.content_type = EVENTS if self._is_events else LINES
        self.alive = b": alive\n\n" if self._is_events else b"\n"

    def answer(self, text: bytes) -> bytes:
        return b"data: " + text + b"\n\n" if self._is_events else text + b"\n"

    def failure(self, failure: Failure) -> bytes:
        return (b"event: error\n" if self._is_events else b"") + self.answer(failure.body)


class Writer:
    """Answers as JSON. Large ones beside the event loop, one at a time: a list of a thousand hosts takes a second of a core."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def json(self, message: Message) -> bytes:
        if message.ByteSize() < THREAD_BYTES:
            return answer_of(message)
        async with self._turn:
            return await asyncio.to_thread(answer_of, message)


class Answers:
    """A stream of the Api that is asked for its next answer with patience."""

    def __init__(self, answers: AsyncGenerator[Message, None]) -> None:
        self._answers = answers
        self._next: asyncio.Task[Message | None] | None = None

    async def next(self, within_s: float) -> Message | None:
        """None: it has ended. Raises TimeoutError when there is none in time, which loses none; and Failed."""
        if self._next is None:
            self._next = asyncio.create_task(self._pulled())
        done, _ = await asyncio.wait({self._next}, timeout=max(0.0, within_s))
        if not done:
            raise TimeoutError
        task, self._next = self._next, None
        return task.result()

    async def _pulled(self) -> Message | None:
        return await anext(self._answers, None)

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            with suppress(asyncio.CancelledError, Failed):
                await self._next
        await self._answers.aclose()


async def chunks(
    answers: Answers,
    first: bytes,
    framing: Framing,
    writer: Writer,
    alive_s: float = ALIVE_S,
    stream_s: float = STREAM_S,
) -> AsyncGenerator[bytes, None]:
    """The body of such a response: `first` as it was framed already, if there was one by then, and all that follows."""
    loop = asyncio.get_running_loop()
    over_s = loop.time() + stream_s
    yield first or framing.alive
    while (left_s := over_s - loop.time()) > 0:
        try:
            message = await answers.next(min(alive_s, left_s))
        except TimeoutError:
            yield framing.alive
            continue
        except Failed as failed:
            yield framing.failure(Failure.of(failed.code, str(failed)))
            return
        if message is None:
            return
        yield framing.answer(await writer.json(message))
    yield framing.failure(Failure.of(grpc.StatusCode.DEADLINE_EXCEEDED, OVER))
