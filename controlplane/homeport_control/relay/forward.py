"""One call, passed on to the leader: any method, as bytes, both ways at once, with all that gRPC says around them.

Passed on are metadata (trust/callers: with who called), the deadline, the half-close, cancelling, status, words and trailing
metadata. One message is under way in each direction: who reads slowly holds back who sends. A leader that refuses because it
leads no more has done nothing, so the call waits for the next one; anything else that breaks is told to the caller, who alone
knows whether it may be said twice.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc.aio import EOF, AioRpcError

from homeport_control.relay.handlers import Context
from homeport_control.relay.leader import LeaderChannel, Unknown
from homeport_control.trust.callers import forwarded

HOLD_S = 5.0  # so long a call waits for somebody who leads
PAUSE_S = 0.1  # after a refusal; the lease says who leads, not the one who refused
NOT_LEADING_KEY = "homeport-not-leading"  # trailing metadata of such a refusal


CHANGED = "another server leads since this call was begun; try again"


class NotTaken(Exception):
    """The one that was called leads no more, and has done nothing."""


class Changed(Exception):
    """The way to the one that was called was given up. What it has done is not known."""


class Forward:
    def __init__(self, leader: LeaderChannel, name: str, *, hold_s: float = HOLD_S) -> None:
        """`name`: this server's, in the metadata of what it passes on."""
        self._leader = leader
        self._name = name
        self._hold_s = hold_s

    def handler(self, method: str) -> Any:
        async def pass_on(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._pass_on(method, requests, context)

        return grpc.stream_stream_rpc_method_handler(pass_on)

    async def _pass_on(self, method: str, requests: AsyncIterator[bytes], context: Context) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._hold_s
        source = _Source(requests)
        try:
            while True:
                channel = await self._leader.get(deadline_s)
                try:
                    return await _one(channel, method, self._name, source, context)
                except NotTaken:
                    await asyncio.sleep(PAUSE_S)
        except Changed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, CHANGED)
        except Unknown as unknown:
            why = f"no server that leads could be reached within {self._hold_s:g} s: {unknown}; try again in a moment"
            await context.abort(grpc.StatusCode.UNAVAILABLE, why)
        except AioRpcError as error:
            await context.abort(
                error.code(), error.details() or "", trailing_metadata=_pairs(error.trailing_metadata())
            )
        finally:
            source.close()


class _Source:
    """What the caller sends. The first message can be sent again, until there is an answer or a second one."""

    def __init__(self, requests: AsyncIterator[bytes]) -> None:
        self._requests = requests
        self._reading: asyncio.Task[bytes | None] | None = None
        self._sent = 0
        self._first: bytes | None = None

    @property
    def can_begin_anew(self) -> bool:
        return self._sent <= 1

    async def messages(self) -> AsyncIterator[bytes]:
        """From the beginning. Cancelled while it waits it loses nothing."""
        if self._first is not None:
            yield self._first
        while True:
            if self._reading is None:
                self._reading = asyncio.create_task(self._next())
            message = await asyncio.shield(self._reading)
            if message is None:
                return  # and again, should it be asked again
            self._reading = None
            self._sent += 1
            self._first = message if self._sent == 1 else None
            yield message

    async def _next(self) -> bytes | None:
        return await anext(self._requests, None)

    def answered(self) -> None:
        self._first = None

    def close(self) -> None:
        reading = self._reading
        if reading is None:
            return
        reading.cancel()
        if reading.done() and not reading.cancelled():
            reading.exception()  # of a caller that is gone: nobody asks for it


async def _one(channel: grpc.aio.Channel, method: str, name: str, source: _Source, context: Context) -> None:
    """One try. Raises NotTaken, Changed, and AioRpcError as the leader's status."""
    metadata = grpc.aio.Metadata(*forwarded(context, name))
    try:
        call: Any = channel.stream_stream(method)(timeout=context.time_remaining(), metadata=metadata)
    except grpc.aio.UsageError:  # it was closed just now
        raise NotTaken from None
    sending = asyncio.create_task(_send(call, source))
    answered = False
    try:
        initial = _pairs(await call.initial_metadata())
        while (message := await call.read()) is not EOF:
            if initial and not answered:
                await context.send_initial_metadata(initial)
            answered = True
            source.answered()
            await context.write(message)
        context.set_trailing_metadata(_pairs(await call.trailing_metadata()))
    except AioRpcError as error:
        if not answered and source.can_begin_anew and (NOT_LEADING_KEY, "1") in _pairs(error.trailing_metadata()):
            raise NotTaken from None
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # not our caller: the channel was closed
            raise Changed from None
        raise
    finally:
        sending.cancel()
        call.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(call: Any, source: _Source) -> None:
    """Until the caller has no more; what breaks here is told where the answers are read."""
    try:
        async for message in source.messages():
            await call.write(message)
        await call.done_writing()
    except (AioRpcError, asyncio.InvalidStateError):
        return


def _pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or ())
