"""web/connections: a stranger with many, silent or slow connections keeps the install script from nobody else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fixtures.control import DEADLINE_S, State
from homeport_control.listeners import web_server
from homeport_control.web.connections import WebLimits
from homeport_control.web.downloads import BUNDLE, Downloads
from homeport_control.web.server import web_app
from rig.ports import free_port
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /install.sh HTTP/1.1\r\nHost: localhost\r\n\r\n"
SCRIPT = b"#!/bin/sh\n"


class Web:
    def __init__(
        self, state: State, limits: WebLimits, script: bytes, bundle: Path, routes: Sequence[BaseRoute]
    ) -> None:
        self.port = free_port()
        downloads = Downloads("1", script, b"", "homeport-1-py3-none-any.whl", b"", bundle, 7401)
        pair = state.ca.server_pair()
        self.server = web_server(
            web_app(state.ca.pem, downloads, routes=routes), "127.0.0.1", self.port, pair, state.directory, limits
        )
        self.context = ssl.create_default_context(cadata=state.ca.pem.decode())
        self.streams: list[Stream] = []

    async def connect(self, address: str = "127.0.0.1") -> Stream:
        where = {"ssl": self.context, "server_hostname": "localhost", "local_addr": (address, 0)}
        self.streams.append(await asyncio.open_connection("127.0.0.1", self.port, **where))  # type: ignore[arg-type]
        return self.streams[-1]

    async def asked(self, stream: Stream) -> bytes:
        stream[1].write(GET)
        return await asyncio.wait_for(stream[0].readuntil(SCRIPT), DEADLINE_S)


@asynccontextmanager
async def serving(
    state: State,
    limits: WebLimits,
    script: bytes = SCRIPT,
    bundle: Path = Path("/nowhere"),
    routes: Sequence[BaseRoute] = (),
) -> AsyncIterator[Web]:
    web = Web(state, limits, script, bundle, routes)
    task = asyncio.create_task(web.server.serve())
    async with asyncio.timeout(DEADLINE_S):
        while not web.server.started:  # noqa: ASYNC110
            await asyncio.sleep(0)
    try:
        yield web
    finally:
        for _, writer in web.streams:
            writer.transport.abort()
        web.server.should_exit = True
        await task


async def is_cut(stream: Stream) -> bool:
    """Whether the other side ends it before the deadline."""
    try:
        return not (await asyncio.wait_for(stream[0].read(), DEADLINE_S)).startswith(b"HTTP/1.1 200")
    except (ConnectionError, ssl.SSLError):
        return True


async def test_one_address_that_holds_all_it_may_have_keeps_nobody_else_out(state: State) -> None:
    async with serving(state, WebLimits(of_address=8)) as web:
        held = [await web.connect() for _ in range(8)]
        assert await is_cut(await web.connect())
        assert SCRIPT in await web.asked(await web.connect("127.0.0.2"))
        held[0][1].transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    assert SCRIPT in await web.asked(await web.connect())
                    break
                except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                    await asyncio.sleep(0)


@pytest.mark.parametrize("said", [b"", b"GET /install.sh HTTP/1.1\r\nX: "])
async def test_who_never_ends_its_request_is_cut(state: State, said: bytes) -> None:
    async with serving(state, WebLimits(request_s=0.2)) as web:
        stream = await web.connect()
        stream[1].write(said)
        assert await is_cut(stream)


async def test_after_an_answer_the_next_request_must_come_in_time_too(state: State) -> None:
    async with serving(state, WebLimits(request_s=0.3)) as web:
        stream = await web.connect()
        for _ in range(2):
            assert SCRIPT in await web.asked(stream)
        stream[1].write(b"G")  # ends uvicorn's own time between two requests
        assert await is_cut(stream)


async def test_nobody_can_name_another_address_as_its_own(state: State) -> None:
    async def who(request: Request) -> Response:
        return PlainTextResponse(f"{request.client.host}\n" if request.client else "")

    async with serving(state, WebLimits(), routes=[Route("/who", who)]) as web:
        reader, writer = await web.connect()
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        assert answer.startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == b"127.0.0.1\n"


LARGE = b"x" * (32 << 20) + SCRIPT


async def test_an_answer_that_is_not_taken_is_given_up(state: State, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(LARGE)
    async with serving(state, WebLimits(answer_s=0.3), bundle=bundle) as web:
        stream = await web.connect()
        stream[1].write(GET.replace(b"/install.sh", f"/host/{BUNDLE}".encode()))
        await stream[0].readexactly(10)
        async with asyncio.timeout(DEADLINE_S):
            while web.server.server_state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)  # nobody reads meanwhile
        assert len(await taken(stream)) < len(LARGE)


async def test_a_slow_line_gets_its_answer_whole(state: State) -> None:
    async with serving(state, WebLimits(request_s=0.05), LARGE) as web:
        stream = await web.connect()
        stream[1].write(GET)
        await stream[0].readexactly(10)
        await asyncio.sleep(0.3)  # what is tried is that this time passes
        assert len(await taken(stream)) > len(LARGE)


async def taken(stream: Stream) -> bytes:
    """All that comes until the other side ends it."""
    found = b""
    try:
        while piece := await asyncio.wait_for(stream[0].read(1 << 20), DEADLINE_S):
            found += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return found


async def test_headers_that_do_not_end_are_refused(state: State) -> None:
    async with serving(state, WebLimits()) as web:
        stream = await web.connect()
        stream[1].write(b"GET / HTTP/1.1\r\nX: " + b"x" * (1 << 20))
        assert await is_cut(stream)
