"""loops/loop: one turn at a time, woken by topics and deadlines, and tried again when it raises."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fixtures.control import DEADLINE_S
from homeport_control.loops.loop import FIRST_BACKOFF_S, MAX_REST_S, Loop, Turn, rest_s
from homeport_control.store.changes import Changes


class Turns:
    """A turn that a test lets go on, and counts."""

    def __init__(self, answer: Callable[[int], Turn] = lambda number: Turn(f"turn {number}")) -> None:
        self.answer = answer
        self.begun = self.running = self.most_at_once = 0
        self.changed = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def turn(self, now_s: float) -> Turn:
        assert abs(now_s - time.time()) < DEADLINE_S
        self.begun += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.changed.set()
        try:
            await self.gate.wait()
            return self.answer(self.begun)
        finally:
            self.running -= 1

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.begun < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_it_turns_at_its_start_and_after_each_change_of_its_topics() -> None:
    changes, turns = Changes(), Turns()
    loop = Loop("test", changes, ("runs", "hosts"), turns.turn)
    async with running(loop):
        await turns.reached(1)
        changes.publish({"tokens"})
        changes.publish({"hosts"})
        await turns.reached(2)
        changes.publish({"runs"})
        await turns.reached(3)
    assert turns.begun == 3, "another's topic wakes nobody"


async def test_turns_never_overlap_and_changes_meanwhile_are_one_more_turn() -> None:
    changes, turns = Changes(), Turns()
    turns.gate.clear()
    async with running(Loop("test", changes, ("runs",), turns.turn)):
        await turns.reached(1)
        for _ in range(5):
            changes.publish({"runs"})
            await asyncio.sleep(0)
        assert turns.begun == 1
        turns.gate.set()
        await turns.reached(2)
        changes.publish({"runs"})
        await turns.reached(3)
    assert (turns.begun, turns.most_at_once) == (3, 1)


async def test_a_turn_that_raises_is_tried_again_later_and_later() -> None:
    began_s = time.monotonic()

    def answer(number: int) -> Turn:
        if number <= 3:
            raise RuntimeError("the state was strange")
        return Turn("good again")

    turns = Turns(answer)
    loop = Loop("test", Changes(), (), turns.turn)
    async with running(loop):
        await turns.reached(4)
    assert time.monotonic() - began_s >= FIRST_BACKOFF_S * (1 + 2 + 4) * 0.9
    assert loop.last.sentence == "good again"


async def test_it_turns_when_its_own_time_has_come() -> None:
    due_s = time.time() + 0.2
    turns = Turns(lambda number: Turn("waits", due_s if number == 1 else None))
    async with running(Loop("test", Changes(), (), turns.turn)):
        await turns.reached(2)
    assert time.time() >= due_s


async def test_a_time_that_has_passed_is_now() -> None:
    turns = Turns(lambda number: Turn("late", time.time() - 1000 if number < 3 else None))
    async with running(Loop("test", Changes(), (), turns.turn)):
        await turns.reached(3)


async def test_before_its_first_turn_it_says_so() -> None:
    assert Loop("test", Changes(), (), Turns().turn).last.sentence == "has not turned yet"


async def test_what_changes_while_it_rests_is_one_turn() -> None:
    """However much changes, a loop of long turns leaves most of the time to others."""
    changes, turns = Changes(), Turns()
    loop = Loop("test", changes, ("runs",), turns.turn)
    turns.gate.clear()
    async with running(loop):
        await turns.reached(1)
        asyncio.get_running_loop().call_later(0.1, turns.gate.set)
        await turns.gate.wait()
        rested_s = time.monotonic()
        while turns.begun < 2:
            changes.publish({"runs"})
            await asyncio.sleep(0)
        assert time.monotonic() - rested_s >= 0.35


def test_short_turns_rest_for_next_to_nothing_and_long_ones_not_for_ever() -> None:
    assert rest_s(0.004) < 0.001
    assert rest_s(0.1) == 0.4
    assert rest_s(100.0) == MAX_REST_S
