"""reaching: which doors of others answer, over loopback, with real listeners."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from homeport_agent import reaching
from homeport_agent.model import Reached, ReachTarget
from homeport_agent.reaching import Reaching
from rig.gateway import free_port

DEADLINE_S = 15.0


@pytest.fixture
async def news() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def room(news: asyncio.Event) -> AsyncIterator[Reaching]:
    made = Reaching(news.set)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


async def until(room: Reaching, news: asyncio.Event, wanted: tuple[Reached, ...]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while room.observed() != wanted:
            await news.wait()
            news.clear()


async def test_it_is_told_who_answers_and_why_another_does_not(room: Reaching, news: asyncio.Event) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port, nobody = server.sockets[0].getsockname()[1], free_port()
    room.apply((ReachTarget("h1", "127.0.0.1", port), ReachTarget("h2", "127.0.0.1", nobody)))
    refused = f"127.0.0.1:{nobody}: connect call failed ('127.0.0.1', {nobody})"
    await until(room, news, (Reached("h1", ""), Reached("h2", refused)))
    server.close()
    room.apply(())
    await until(room, news, ())


async def test_one_that_did_not_answer_is_tried_again(
    room: Reaching, news: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "AGAIN_S", 0.01)
    port = free_port()
    room.apply((ReachTarget("h1", "127.0.0.1", port),))
    async with asyncio.timeout(DEADLINE_S):
        while not room.observed():
            await news.wait()
            news.clear()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    await until(room, news, (Reached("h1", ""),))
    server.close()
