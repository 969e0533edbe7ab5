import asyncio
from collections.abc import Coroutine
from typing import Any

from fakes.agent import replica
from fakes.engine import FakeEngine, Program
from homeport_agent.gpus.base import GpuSample
from homeport_agent.model import GpuUsage, Usage
from homeport_agent.outbox import Due, Outbox
from homeport_agent.stats import REQUESTS, StatsDesk
from homeport_agent.work import container_name, container_spec
from homeport_protos.agent.v1 import agent_pb2


class Gpus:
    """GPUs with numbers that the test writes; hangs while `is_hung`."""

    def __init__(self) -> None:
        self.now = (GpuUsage("GPU-1", 10, 100, 0.5), GpuUsage("GPU-2", 20, 100, None))
        self.is_hung = False

    async def sample(self) -> GpuSample:
        return GpuSample()

    async def usage(self) -> tuple[GpuUsage, ...]:
        if self.is_hung:
            await asyncio.Event().wait()
        return self.now

    async def close(self) -> None:
        return


class Desk:
    """A desk with two replicas: r1 runs on GPU-2, r2 has no container."""

    def __init__(self, answer_s: float = 5.0) -> None:
        self.engine = FakeEngine({"hello:1"}, {("serve",): Program()})
        self.gpus = Gpus()
        self.held = {"r1": replica("r1", command=("serve",), gpu_uuids=("GPU-2",)), "r2": replica("r2")}
        self.tasks: set[asyncio.Task[None]] = set()
        self.outbox = Outbox()
        self.desk = StatsDesk(self.engine, self.gpus, self.held.get, self._spawn, answer_s)
        self.desk.opened(self.outbox)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        return task

    async def start(self) -> None:
        await self.engine.start(await self.engine.create(container_spec(self.held["r1"], "server-1")))

    def ask(self, request_id: int, *replica_ids: str) -> None:
        self.desk.requested(agent_pb2.StatsRequest(request_id=request_id, replica_ids=replica_ids))

    async def answer(self) -> agent_pb2.Stats:
        async with asyncio.timeout(10):
            while isinstance(message := await self.outbox.take(10), Due):
                pass
        return message.stats


async def test_a_running_replica_has_numbers_and_those_of_its_own_gpus() -> None:
    desk = Desk()
    await desk.start()
    desk.engine.used = Usage(2.5, 300, 1024)
    desk.ask(7, "r1")
    stats = await desk.answer()
    (row,) = stats.replicas
    assert (stats.request_id, row.replica_id, row.error) == (7, "r1", "")
    assert (row.cpu_s, row.memory_mib, row.memory_limit_mib) == (2.5, 300, 1024)
    assert row.at_s > 0
    (gpu,) = row.gpus
    assert (gpu.uuid, gpu.memory_used_mib, gpu.memory_total_mib) == ("GPU-2", 20, 100)
    assert not gpu.HasField("utilisation")


async def test_each_replica_without_numbers_has_its_reason() -> None:
    desk = Desk()
    await desk.start()
    desk.ask(1, "r1", "r2", "r3", "r1")
    rows = {row.replica_id: row.error for row in (await desk.answer()).replicas}
    assert rows == {
        "r1": "",
        "r2": "replica r2 has no container on this host",
        "r3": "replica r3 is not on this host",
    }
    desk.engine.end(container_name("r1"), 1)
    desk.ask(2, "r1")
    assert (await desk.answer()).replicas[0].error == "its container does not run"


async def test_an_engine_that_hangs_is_said_in_time() -> None:
    desk = Desk(answer_s=0.2)
    await desk.start()
    with desk.engine.hold("usage"):
        desk.ask(1, "r1")
        assert (await desk.answer()).replicas[0].error == "Docker did not answer within 0.2 s"


async def test_a_driver_that_hangs_takes_only_the_numbers_of_the_gpus() -> None:
    desk = Desk(answer_s=0.2)
    await desk.start()
    desk.gpus.is_hung = True
    desk.ask(1, "r1")
    (row,) = (await desk.answer()).replicas
    assert (row.error, row.memory_mib) == ("", 100)
    assert (row.gpus[0].uuid, row.gpus[0].HasField("memory_used_mib")) == ("GPU-2", False)


async def test_more_requests_than_a_handful_are_refused_at_once() -> None:
    desk = Desk()
    await desk.start()
    with desk.engine.hold("usage") as reached:
        for number in range(REQUESTS):
            desk.ask(number, "r1")
        await reached()
        desk.ask(99, "r1")
        refused = await desk.answer()
        assert refused.request_id == 99
        assert "try again" in refused.replicas[0].error
    assert {(await desk.answer()).request_id for _ in range(REQUESTS)} == set(range(REQUESTS))
