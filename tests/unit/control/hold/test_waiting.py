"""hold/waiting: places that are taken, given up, and answered together."""

import asyncio

import pytest
from homeport_control.decide.hold import Limits
from homeport_control.domain.holding import GoOn, Outlook, Refusal
from homeport_control.hold.waiting import Waiting


class Room:
    def __init__(self, **limits: float) -> None:
        self.now_s = 1000.0
        self.counts: list[tuple[str, int]] = []
        self.waiting = Waiting(
            lambda service, held: self.counts.append((service, held)),
            limits=Limits(**limits),  # type: ignore[arg-type]
            clock=lambda: self.now_s,
        )

    async def enter(self, service: str = "llm", gateway: str = "local") -> "asyncio.Task[GoOn | Refusal]":
        task = asyncio.create_task(self.waiting.wait(gateway, service))
        await asyncio.sleep(0)
        return task


async def test_who_waits_is_counted_and_goes_on_with_the_first_replica_at_its_own_gateway() -> None:
    room = Room()
    one, two = await room.enter(), await room.enter()
    elsewhere, other = await room.enter(gateway="main"), await room.enter("other")
    assert room.waiting.held == {"llm": 3, "other": 1}
    room.waiting.rotation("local", frozenset({"llm"}))
    assert [await one, await two] == [GoOn(), GoOn()]
    assert not elsewhere.done()
    assert not other.done()
    assert room.waiting.held == {"llm": 1, "other": 1}
    assert room.counts == [("llm", 1), ("llm", 2), ("llm", 3), ("other", 1), ("llm", 2), ("llm", 1)]
    for task in (elsewhere, other):
        task.cancel()
    await asyncio.gather(elsewhere, other, return_exceptions=True)
    assert room.waiting.held == {}


async def test_with_a_replica_in_rotation_nobody_waits_until_it_is_gone_again() -> None:
    room = Room()
    room.waiting.rotation("local", frozenset({"llm"}))
    assert await room.waiting.wait("local", "llm") == GoOn()
    assert room.counts == []
    room.waiting.rotation("local", frozenset())
    task = await room.enter()
    assert room.waiting.held == {"llm": 1}
    room.waiting.rotation("local", frozenset({"llm"}))
    assert await task == GoOn()


async def test_who_leaves_frees_the_place() -> None:
    room = Room(most=1)
    first = await room.enter()
    refused = await room.waiting.wait("local", "llm")
    assert isinstance(refused, Refusal)
    assert refused.code == "too_many_held"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = await room.enter()
    assert not second.done()
    second.cancel()


async def test_the_limit_in_time_ends_a_wait() -> None:
    room = Room(longest_s=5.0)
    task = await room.enter()
    room.now_s += 5
    room.waiting.tell("llm", Outlook(cold_start_s=3.0))
    found = await task
    assert isinstance(found, Refusal)
    assert (found.code, found.retry_after_s) == ("held_too_long", 3)


async def test_the_limit_in_time_is_kept_when_nothing_happens() -> None:
    waiting = Waiting(lambda *_: None, limits=Limits(longest_s=0.01))
    async with asyncio.timeout(5):
        found = await waiting.wait("local", "llm")
    assert isinstance(found, Refusal)
    assert found.code == "held_too_long"


async def test_what_is_told_refuses_all_who_wait_and_nobody_who_comes_after_them() -> None:
    room = Room()
    tasks = [await room.enter() for _ in range(3)]
    room.waiting.tell("llm", Outlook(cold_start_s=7.0, hopeless="it has failed"))
    for task in tasks:
        found = await task
        assert isinstance(found, Refusal)
        assert found.message == "No replica of llm will come: it has failed."
    later = await room.enter()
    assert not later.done(), "another run of that name may have been made meanwhile"
    later.cancel()


async def test_what_is_told_while_nobody_waits_keeps_its_starts_only() -> None:
    room = Room(most=0)
    await room.waiting.wait("local", "llm")
    room.waiting.tell("llm", Outlook(cold_start_s=7.0, hopeless="it has failed"))
    found = await room.waiting.wait("local", "llm")
    assert isinstance(found, Refusal)
    assert (found.code, found.retry_after_s) == ("too_many_held", 7)


async def test_a_name_that_nobody_waits_for_is_not_remembered() -> None:
    room = Room()
    room.waiting.tell("nobody", Outlook(hopeless="x"))
    task = await room.enter()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.waiting.held == {}
