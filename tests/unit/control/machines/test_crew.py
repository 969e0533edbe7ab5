"""machines/crew: each errand ends with one word, several at once, and nobody's failure is another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fixtures.control import FACTS, until_true
from homeport_control.domain.fleets import Errand, Phase, Place, Registration, Standby
from homeport_control.machines.crew import AT_ONCE, WAITING, Crew, Failed, Step


def errand(name: str = "a") -> Errand:
    known = Registration("lab", Place(name, 22, "ops"), standby=Standby(Phase.COMING, 0.0, FACTS))
    return Errand(known, "", "s:7400", True)


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.breaks = False

    async def stepped(self, errand: Errand, step: str) -> None:
        self.heard.append(("step", errand.registration.place.hostname, step))

    async def done(self, errand: Errand, host_id: str) -> None:
        if self.breaks:
            raise OSError("the database is away")
        self.heard.append(("done", errand.registration.place.hostname, host_id))

    async def failed(self, errand: Errand, reason: str) -> None:
        self.heard.append(("failed", errand.registration.place.hostname, reason))


class Machines:
    """Each is at work until it may go on."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.may_end = asyncio.Event()

    async def do(self, errand: Errand, step: Step) -> str:
        name = errand.registration.place.hostname
        self.at_work.append(name)
        step("connecting")
        await self.may_end.wait()
        if name == "bad":
            raise Failed("no route")
        if name == "bug":
            raise ValueError("a mistake of ours")
        return f"host-{name}"


@asynccontextmanager
async def working(machines: Machines, listener: Listener) -> AsyncIterator[Crew]:
    crew = Crew(machines.do, listener)
    task = asyncio.create_task(crew.run())
    try:
        yield crew
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def listener() -> Listener:
    return Listener()


async def test_steps_are_told_and_then_what_came_of_it(listener: Listener) -> None:
    machines = Machines()
    async with working(machines, listener) as crew:
        crew.send(errand())
        assert crew.is_busy("lab/a:22")
        await until_true(lambda: listener.heard)
        machines.may_end.set()
        await until_true(lambda: not crew.is_busy("lab/a:22"))
    assert listener.heard == [("step", "a", "connecting"), ("done", "a", "host-a")]


async def test_a_failure_is_one_errands_alone(listener: Listener) -> None:
    machines = Machines()
    machines.may_end.set()
    async with working(machines, listener) as crew:
        for name in ("bad", "bug", "a"):
            crew.send(errand(name))
        await until_true(lambda: not any(crew.is_busy(f"lab/{name}:22") for name in ("bad", "bug", "a")))
    ended = [it for it in listener.heard if it[0] != "step"]
    assert sorted(ended) == [("done", "a", "host-a"), ("failed", "bad", "no route")], (
        "what a mistake of ours broke off is sent again by the loop, which finds it not ended"
    )


async def test_what_could_not_be_written_down_is_not_ended(listener: Listener) -> None:
    listener.breaks = True
    machines = Machines()
    machines.may_end.set()
    async with working(machines, listener) as crew:
        crew.send(errand())
        await until_true(lambda: not crew.is_busy("lab/a:22"))
        listener.breaks = False
        crew.send(errand())
        await until_true(lambda: ("done", "a", "host-a") in listener.heard)


async def test_so_many_are_at_work_at_once_and_so_many_may_wait(listener: Listener) -> None:
    machines = Machines()
    async with working(machines, listener) as crew:
        for number in range(AT_ONCE + 3):
            crew.send(errand(f"m{number}"))
        await until_true(lambda: len(machines.at_work) == AT_ONCE)
        for number in range(WAITING):
            crew.send(errand(f"n{number}"))
        assert crew.is_busy(f"lab/n{WAITING - 4}:22")
        assert not crew.is_busy(f"lab/n{WAITING - 3}:22"), "it is sent again when the loop looks again"
