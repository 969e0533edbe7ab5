"""A replica that resets, answers garbage, sends endless headers or hangs, beside one that is well: what callers notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from homeport_control.domain.gateway import Endpoint, ServiceRoute, Traffic
from rig.gateway import Gateway, replicas
from rig.load import Load

pytestmark = pytest.mark.envoy

FAULTS = ("resets", "answers garbage", "sends endless headers", "closes")


@contextlib.asynccontextmanager
async def sick(fault: str) -> AsyncIterator[Endpoint]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if fault == "resets":
                writer.transport.abort()
            elif fault == "answers garbage":
                writer.write(b"\x00\xff" * 300 + b"\r\n\r\n")
            elif fault == "sends endless headers":
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while not writer.is_closing():
                    writer.write(b"x-a: %b\r\n" % (b"y" * 1000))
                    await writer.drain()
            elif fault == "hangs":
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint("sick", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_idempotent_request_notices_it(gateway: Gateway, fault: str) -> None:
    async with replicas("well") as (well,), sick(fault) as endpoint:
        await gateway.control.publish(gateway.snapshot(well.endpoint(), endpoint))
        async with Load(gateway) as load:
            await load.more(600)
        assert load.answers.keys() == {200}, load.answers
        assert set(load.by_replica) == {"well"}


async def test_one_that_hangs_costs_what_waits_for_it_and_the_others_go_elsewhere(gateway: Gateway) -> None:
    """It takes few: who has the most requests in flight gets the fewest. When the time for an answer is over each is a 504."""
    async with replicas("well") as (well,), sick("hangs") as endpoint:
        traffic = Traffic(response_timeout_s=1)
        hello = ServiceRoute("hello", ("hello.localhost",), True, (well.endpoint(), endpoint), traffic=traffic)
        await gateway.control.publish(replace(gateway.snapshot(), services=(hello,)))
        async with Load(gateway, clients=16) as load:
            await load.more(2000)
        assert load.answers.keys() == {200, 504}, load.answers
        assert load.answers[504] < 0.1 * load.answers.total()
