"""Admission in the running agent, on the fake engine: what is refused, waited for, and left behind."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from fakes.agent import assignment, replica
from fakes.agent_rig import AgentRig, agent_rig, listening
from fakes.engine import FakeEngine, Program
from homeport_agent.admission import Look
from homeport_agent.gpus.model import Finding, Gpu, GpuProcess, Severity
from homeport_agent.model import AssignedReplica, Phase, Wanted

SERVE = ("serve",)
NAME = "homeport-r1"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine({"hello:1"}, {SERVE: Program()})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with listening() as made:
        yield made


def said(agent: AgentRig) -> str:
    observed = agent.observed()
    return observed.message if observed else ""


UUID = "GPU-3f2a7b10-0000-4000-8000-000000000000"


class Gpus:
    """What the GPUs show, as the test wants it."""

    def __init__(self, *processes: GpuProcess) -> None:
        self.gpus = (Gpu(UUID, "A5000", 24576, 300, processes=processes),)
        self.findings: tuple[Finding, ...] = ()
        self.is_stuck = False

    def __call__(self) -> Look:
        at_s = 0.0 if self.is_stuck else time.monotonic()
        return Look(self.gpus, self.findings, at_s=at_s)


def on_gpu(port: int, replica_id: str = "r1", **values: object) -> AssignedReplica:
    return replica(replica_id, command=SERVE, container_port=port, gpu_uuids=(UUID,), **values)


async def test_a_replica_gets_a_free_gpu_and_its_container_the_uuid(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine, look=Gpus()) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        await agent.until_phase(Phase.READY)
    assert engine.containers[NAME].spec.gpu_uuids == (UUID,)


async def test_a_gpu_in_strange_hands_is_refused_with_numbers_and_nothing_is_left(
    engine: FakeEngine, port: int
) -> None:
    async with agent_rig(engine, look=Gpus(GpuProcess(3123, "python3", 13107))) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        failed = await agent.until_phase(Phase.FAILED)
    assert failed.refused
    assert "pid 3123 python3 holds 12.8GB" in failed.message
    assert engine.containers == {}
    assert "create" not in engine.calls


async def test_a_gpu_that_is_failing_is_refused_before_anything_is_pulled(engine: FakeEngine, port: int) -> None:
    gpus = Gpus()
    gpus.findings = (Finding("xid-79", Severity.FAILING, "it fell off the bus", gpu_uuid=UUID),)
    async with agent_rig(engine, look=gpus) as agent:
        agent.assign(assignment(1, on_gpu(port, image="big:1")))
        assert (await agent.until_phase(Phase.FAILED)).refused
    assert not {"has_image", "pull", "create"} & set(engine.calls)


async def test_a_dying_replica_is_waited_for_and_then_the_next_one_starts(engine: FakeEngine, port: int) -> None:
    gpus = Gpus(GpuProcess(77, "python3", 9000, replica_id="r9"))
    async with agent_rig(engine, look=gpus) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        await agent.until(lambda: "still held by pid 77" in said(agent))
        assert phase_now(agent) is Phase.STARTING
        gpus.gpus = Gpus().gpus
        await agent.until_phase(Phase.READY)


async def test_a_stop_does_not_wait_for_a_gpu_to_become_free(engine: FakeEngine, port: int) -> None:
    gpus = Gpus(GpuProcess(77, "python3", 9000, replica_id="r9"))
    async with agent_rig(engine, look=gpus) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        await agent.until(lambda: "still held by pid 77" in said(agent))
        async with asyncio.timeout(3):
            agent.assign(assignment(2, on_gpu(port, wanted=Wanted.STOP)))
            assert not (await agent.until_phase(Phase.STOPPED)).refused
    assert engine.containers == {}


async def test_a_container_that_died_is_not_started_again_on_a_gpu_that_another_took(
    engine: FakeEngine, port: int
) -> None:
    gpus = Gpus()
    async with agent_rig(engine, look=gpus) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        await agent.until_phase(Phase.READY)
        gpus.gpus = Gpus(GpuProcess(3123, "python3", 13107)).gpus
        engine.end(NAME, 1)
        failed = await agent.until_phase(Phase.FAILED)
        assert failed.refused
        assert NAME in engine.containers  # its logs may be asked for until it leaves the list
        agent.assign(assignment(2))
        await agent.until(lambda: agent.observed() is None)
    assert engine.containers == {}


async def test_what_runs_is_adopted_whatever_its_gpu_shows(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine, look=Gpus()) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        await agent.until_phase(Phase.READY)
        kept = agent.kept[-1]
    gpus = Gpus(GpuProcess(3123, "python3", 13107))
    gpus.findings = (Finding("xid-79", Severity.FAILING, "it fell off the bus", gpu_uuid=UUID),)
    async with agent_rig(engine, kept, look=gpus) as agent:
        await agent.until_phase(Phase.READY)
        agent.assign(assignment(2, on_gpu(port)))
    assert {phase for _, phase in agent.story} == {Phase.READY}


async def test_a_docker_that_cannot_give_gpus_is_a_refusal_and_leaves_no_container(
    engine: FakeEngine, port: int
) -> None:
    engine.refuses_gpus = "Docker has no NVIDIA support: install nvidia-container-toolkit and restart docker"
    async with agent_rig(engine, look=Gpus()) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        failed = await agent.until_phase(Phase.FAILED)
    assert (failed.refused, failed.message) == (True, engine.refuses_gpus)
    assert engine.containers == {}


async def test_gpus_that_cannot_be_asked_are_refused_after_seconds(engine: FakeEngine, port: int) -> None:
    gpus = Gpus()
    gpus.is_stuck = True
    async with agent_rig(engine, look=gpus) as agent:
        agent.assign(assignment(1, on_gpu(port)))
        failed = await agent.until_phase(Phase.FAILED)
    assert failed.refused
    assert "cannot be checked" in failed.message


def phase_now(agent: AgentRig) -> Phase | None:
    observed = agent.observed()
    return observed.phase if observed else None
