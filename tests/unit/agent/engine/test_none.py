"""engine/none: a host without an engine is in order, and refuses what it cannot do in words."""

import asyncio

import pytest
from homeport_agent.engine.base import ContainerSpec, Engine, EngineDown, EngineInfo, NoSuchContainer
from homeport_agent.engine.none import NoEngine


async def test_looking_finds_nothing_and_is_no_error() -> None:
    engine: Engine = NoEngine("/var/lib/homeport")
    assert await engine.info() == EngineInfo("", "/var/lib/homeport")
    assert (await engine.list(()), await engine.images(), await engine.inspect("a")) == ((), (), None)
    assert await engine.stop("a", 1.0) is None
    await engine.remove("a")
    await engine.close()


async def test_it_is_watched_from_the_start_and_nothing_happens() -> None:
    async with NoEngine("/").events(()) as events:
        assert (await anext(events)).action == "watching"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.01)


async def test_containers_are_refused() -> None:
    engine = NoEngine("/")
    with pytest.raises(EngineDown, match="for gateways only and runs no containers"):
        await engine.create(ContainerSpec("a", (), "image"))
    with pytest.raises(NoSuchContainer):
        engine.logs("a", tail=-1, since_s=0, follow=False)
