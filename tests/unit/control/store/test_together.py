"""store/together: who waits is taken in the order in which he came, and whoever ends, nobody waits for ever. What is done with
those that are taken: test_batches, test_loader."""

import asyncio

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.store.together import AT_ONCE, Together


class Desk:
    """Answers with what was asked, when the gate is open."""

    def __init__(self) -> None:
        self.together: Together[int, int] = Together(self.serve)
        self.rounds: list[list[int]] = []
        self.gate = asyncio.Event()

    async def serve(self) -> None:
        taken = self.together.take()
        self.rounds.append([it.item for it in taken])
        await self.gate.wait()
        for it in taken:
            it.succeed(it.item)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_that_come_meanwhile_are_next_in_their_order_and_so_many_at_once() -> None:
    desk = Desk()
    first = asyncio.create_task(desk.together.add(0))
    await turns()
    others = [asyncio.create_task(desk.together.add(number)) for number in range(1, AT_ONCE + 3)]
    await turns()
    desk.gate.set()
    assert [await it for it in (first, *others)] == list(range(AT_ONCE + 3))
    assert desk.rounds == [[0], list(range(1, AT_ONCE + 1)), [AT_ONCE + 1, AT_ONCE + 2]]


async def test_who_is_cancelled_ends_with_his_round_or_before_it() -> None:
    desk = Desk()
    begun = asyncio.create_task(desk.together.add(1))
    await turns()
    waits = asyncio.create_task(desk.together.add(2))
    await turns()
    for it in (begun, waits):
        it.cancel()
    await turns()
    assert (begun.done(), waits.done()) == (False, True)
    desk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(begun, DEADLINE_S)
    assert await desk.together.add(3) == 3
    assert desk.rounds[-1] == [3], "who went before his round is in none"


async def test_when_the_work_is_cancelled_nobody_goes_on_waiting() -> None:
    desk = Desk()
    first = asyncio.create_task(desk.together.add(1))
    await turns()
    second = asyncio.create_task(desk.together.add(2))
    await turns()
    assert desk.together._working is not None
    desk.together._working.cancel()
    for it in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(it, DEADLINE_S)
