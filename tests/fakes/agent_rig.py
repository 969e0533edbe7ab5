"""The agent's runner on an engine, without a server: the tests play the server, and see what it would be told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes.agent import SERVER
from fakes.code import FakeCode
from homeport_agent import events as ev
from homeport_agent.admission import Look
from homeport_agent.code.base import Code
from homeport_agent.engine.base import Engine
from homeport_agent.machine import Machine
from homeport_agent.model import Assignment, JournalEntry, Phase, ReplicaObserved
from homeport_agent.runner import Runner

DEADLINE_S = 20.0


@dataclass
class AgentRig:
    machine: Machine
    runner: Runner
    changed: asyncio.Event
    tasks: "set[asyncio.Task[None]]"
    kept: list[JournalEntry] = field(default_factory=list)
    story: list[tuple[str, Phase]] = field(default_factory=list)

    def assign(self, assignment: Assignment) -> None:
        self.runner.feed(ev.AssignmentReceived(assignment))

    def observed(self, replica_id: str = "r1") -> ReplicaObserved | None:
        return next((it for it in self.machine.observe(self.runner.now_s()) if it.replica_id == replica_id), None)

    async def until(self, what: Callable[[], object]) -> None:
        """Until it is true; looked at after each change that the server would be told."""
        async with asyncio.timeout(DEADLINE_S):
            while not what():
                self.changed.clear()
                await self.changed.wait()

    async def until_phase(self, phase: Phase, replica_id: str = "r1") -> ReplicaObserved:
        await self.until(lambda: (it := self.observed(replica_id)) is not None and it.phase is phase)
        found = self.observed(replica_id)
        assert found is not None
        return found


@asynccontextmanager
async def agent_rig(
    engine: Engine,
    journal: JournalEntry | None = None,
    code: Code | None = None,
    look: Callable[[], Look] | None = None,
    boot_id: str = "",
) -> AsyncIterator[AgentRig]:
    machine, changed, tasks = Machine(boot_id), asyncio.Event(), set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as group:

        def spawn(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
            task = group.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return task

        def told() -> None:
            rig.story += [(it.replica_id, it.phase) for it in machine.observe(None)]
            changed.set()

        kept: list[JournalEntry] = []
        runner = Runner(machine, engine, SERVER, spawn, told, kept.append, code or FakeCode(), look=look)
        rig = AgentRig(machine, runner, changed, tasks, kept)
        runner.feed(ev.JournalRead(journal))
        for work in (runner.run_watch(), runner.run_clock(), runner.run_second_line()):
            spawn(work)
        try:
            yield rig
        finally:
            for task in list(tasks):
                task.cancel()


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """A port on loopback that accepts: what a replica that serves looks like to a TCP probe."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
