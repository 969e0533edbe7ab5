"""agents/arrivals: who has come waits for those that are coming, and not for ever."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.agents.arrivals import Arrivals
from homeport_control.domain.errors import NotReady


async def test_nobody_waits_while_nobody_comes() -> None:
    await asyncio.wait_for(Arrivals(most_wait_s=3600).over(), DEADLINE_S)


async def test_who_has_come_waits_until_the_last_one_has() -> None:
    arrivals = Arrivals(most_wait_s=3600)
    async with arrivals.coming():
        async with arrivals.coming():
            waits = asyncio.create_task(arrivals.over())
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waits.done(), "one is still coming"
    await asyncio.wait_for(waits, DEADLINE_S)


async def test_one_that_fails_on_its_way_is_not_waited_for() -> None:
    arrivals = Arrivals(most_wait_s=3600)

    async def refused() -> None:
        async with arrivals.coming():
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        await refused()
    await asyncio.wait_for(arrivals.over(), DEADLINE_S)


async def test_those_that_never_stop_coming_are_waited_for_no_longer_than_that() -> None:
    arrivals = Arrivals(most_wait_s=0.01)
    async with arrivals.coming():
        await asyncio.wait_for(arrivals.over(), DEADLINE_S)


async def test_of_many_that_come_some_are_begun_in_their_order() -> None:
    arrivals, begun, may_end = Arrivals(most_wait_s=3600, at_once=2), list[int](), asyncio.Event()

    async def come(number: int) -> None:
        async with arrivals.coming():
            begun.append(number)
            await may_end.wait()

    coming = [asyncio.create_task(come(number)) for number in range(5)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert begun == [0, 1]
    coming[2].cancel()  # it has given up
    may_end.set()
    await asyncio.gather(*coming, return_exceptions=True)
    assert begun == [0, 1, 3, 4]
    await asyncio.wait_for(arrivals.over(), DEADLINE_S)


async def test_one_that_does_not_get_on_holds_up_nobody_for_ever() -> None:
    arrivals = Arrivals(most_wait_s=3600, at_once=1, limit_s=0.05)

    async def come(gets_on: asyncio.Event) -> None:
        async with arrivals.coming():
            await gets_on.wait()

    never, soon = asyncio.Event(), asyncio.Event()
    stuck = asyncio.create_task(come(never))
    await asyncio.sleep(0)
    with pytest.raises(NotReady, match="too long"):
        await asyncio.wait_for(come(never), DEADLINE_S)  # it was never its turn
    with pytest.raises(NotReady, match="too long"):
        await asyncio.wait_for(stuck, DEADLINE_S)
    soon.set()
    await asyncio.wait_for(come(soon), DEADLINE_S)
    await asyncio.wait_for(arrivals.over(), DEADLINE_S)


async def test_who_has_arrived_may_stay() -> None:
    arrivals = Arrivals(limit_s=0.01)
    async with AsyncExitStack() as arriving:
        await arriving.enter_async_context(arrivals.coming())
        await arriving.aclose()
        await asyncio.sleep(0.05)  # what is held to is that nothing happens
