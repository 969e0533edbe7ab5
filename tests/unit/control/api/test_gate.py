"""api/gate: requests to join are read few at a time, by a server that leads and by one that passes them on; and what a flood of
wrong tokens costs. Memory under strangers' messages: tests/abuse/test_outsider."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S, State, add_token
from fixtures.plane import CLIENT_OPTIONS
from homeport_control.api.auth import Callers
from homeport_control.api.gate import MOST_OF_ADDRESS, OPEN, Gate
from homeport_control.listeners import grpc_server
from homeport_control.trust.guesses import ALL_BURST
from rig.ports import free_port

JOIN = f"{OPEN}Join"


class Echo(grpc.GenericRpcHandler):
    """In place of the method itself, or of the way to the leader."""

    def __init__(self, *, is_passed_on: bool) -> None:
        self._is_passed_on = is_passed_on

    def service(self, _details: Any) -> Any:
        if self._is_passed_on:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, _context: Any) -> bytes:
        return request.upper()

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            await context.write(request.upper())


@asynccontextmanager
async def opened(state: State, *, is_passed_on: bool) -> AsyncIterator[grpc.aio.Channel]:
    port = free_port()
    server = grpc_server("127.0.0.1", port, state.ca.server_pair(), interceptors=[Gate(Callers(state.database))])
    server.add_generic_rpc_handlers((Echo(is_passed_on=is_passed_on),))
    await server.start()
    credentials = grpc.ssl_channel_credentials(state.ca.pem)
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, CLIENT_OPTIONS) as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize("is_passed_on", [False, True], ids=["leads", "follows"])
async def test_requests_to_join_are_read_few_at_a_time(state: State, *, is_passed_on: bool) -> None:
    async with opened(state, is_passed_on=is_passed_on) as channel:
        assert await channel.unary_unary(JOIN)(b"me", timeout=DEADLINE_S) == b"ME"
        silent = [channel.stream_unary(JOIN)(timeout=DEADLINE_S) for _ in range(MOST_OF_ADDRESS)]
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:  # until all of them have reached the server
                    try:
                        await channel.unary_unary(JOIN)(b"me", timeout=DEADLINE_S)
                    except grpc.aio.AioRpcError as error:
                        refused = error
                        break
        finally:
            for call in silent:
                call.cancel()
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "requests to join open already" in (refused.details() or "")


async def test_what_comes_after_the_first_message_is_passed_on_too(state: State) -> None:
    async with opened(state, is_passed_on=True) as channel:
        call = channel.stream_stream(JOIN)(iter([b"a", b"b", b"c"]), timeout=DEADLINE_S)
        assert [answer async for answer in call] == [b"A", b"B", b"C"]


async def test_while_too_many_guess_no_token_is_looked_up_but_one_that_was_good_lately_is_read(state: State) -> None:
    await add_token(state, "hp_good", "admin")
    callers = Callers(state.database)
    good = [("authorization", "Bearer hp_good")]
    looks = 0

    def looked(*_: object) -> None:
        nonlocal looks
        looks += 1

    async with callers._looked_up("hp_good", "10.0.0.1"):
        pass
    for number in range(int(ALL_BURST) + 10):
        callers._guesses.was_wrong(f"10.1.{number // 250}.{number % 250}", f"{number}", time.monotonic())
    sa.event.listen(state.database.engine.sync_engine, "before_cursor_execute", looked)
    assert not await callers.is_known([("authorization", "Bearer hp_new")])
    assert await callers.is_known(good)
    assert looks == 0
