"""reaching: which doors of others answer, as whom; over loopback, with real listeners and real certificates."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from homeport_agent import reaching
from homeport_agent.model import Reached, ReachTarget
from homeport_agent.reaching import Reaching
from rig.gateway import Authority
from rig.ports import free_port

DEADLINE_S = 15.0


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("gate"))


@pytest.fixture
async def news() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def room(authority: Authority, news: asyncio.Event) -> AsyncIterator[Reaching]:
    identity = authority.write_identity("gate")
    made = Reaching(lambda: identity, news.set)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


async def door(authority: Authority, folder: Path, host_id: str, port: int = 0) -> asyncio.Server:
    identity = authority.write_identity(host_id, folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(identity.ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(identity.certificate, identity.key)
    return await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port, ssl=context)


def target(host_id: str, port: int) -> ReachTarget:
    return ReachTarget(host_id, "127.0.0.1", port)


async def until(room: Reaching, news: asyncio.Event, *wanted: Reached) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while room.observed() != wanted:
            await news.wait()
            news.clear()


async def test_it_is_told_who_answers_and_why_another_does_not(
    authority: Authority, room: Reaching, news: asyncio.Event, tmp_path: Path
) -> None:
    server = await door(authority, tmp_path, "h1")
    port, nobody = server.sockets[0].getsockname()[1], free_port()
    room.apply((target("h1", port), target("h2", nobody)))
    refused = f"127.0.0.1:{nobody}: connect call failed ('127.0.0.1', {nobody})"
    await until(room, news, Reached("h1", ""), Reached("h2", refused))
    server.close()
    room.apply(())
    await until(room, news)


async def test_who_answers_as_another_host_is_none(
    authority: Authority, room: Reaching, news: asyncio.Event, tmp_path: Path
) -> None:
    server = await door(authority, tmp_path, "h1")
    port = server.sockets[0].getsockname()[1]
    room.apply((target("h9", port),))
    async with asyncio.timeout(DEADLINE_S):
        while not room.observed():
            await news.wait()
            news.clear()
    [found] = room.observed()
    assert found.error.startswith(f"127.0.0.1:{port} shows no certificate of that host: ")
    server.close()


async def test_one_that_did_not_answer_is_tried_again(
    authority: Authority, room: Reaching, news: asyncio.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "AGAIN_S", 0.01)
    port = free_port()
    room.apply((target("h1", port),))
    async with asyncio.timeout(DEADLINE_S):
        while not room.observed():
            await news.wait()
            news.clear()
    server = await door(authority, tmp_path, "h1", port)
    await until(room, news, Reached("h1", ""))
    server.close()
