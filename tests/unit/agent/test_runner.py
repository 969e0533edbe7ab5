"""The runner on the fake engine, with real probes: what the server would see, and what the engine is asked."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from fakes.agent import assignment, replica
from fakes.agent_rig import AgentRig, agent_rig, listening
from fakes.code import FakeCode
from fakes.engine import FakeEngine, Program
from homeport_agent.admission import Look
from homeport_agent.code.base import CodeDamaged, CodeRefused, ServerAway
from homeport_agent.engine.base import ImageNotFound
from homeport_agent.gpus.model import Finding, Gpu, GpuProcess, Severity
from homeport_agent.machine import without_secrets
from homeport_agent.model import AssignedReplica, History, JournalEntry, Phase, Wanted
from homeport_agent.work import container_spec

SERVE, FAIL, SLOW = ("serve",), ("fail",), ("slow",)
NAME = "homeport-r1"


@pytest.fixture
def engine() -> FakeEngine:
    programs = {
        SERVE: Program(),
        FAIL: Program(stdout=("starting",), stderr=("boom",), exits=3),
        SLOW: Program(on_term=None),
    }
    return FakeEngine({"hello:1"}, programs)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with listening() as made:
        yield made


async def test_a_replica_comes_up_and_is_ready(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        observed = await agent.until_phase(Phase.READY)
        assert observed.host_port == engine.containers[NAME].shown.host_port
        assert observed.container_id == engine.containers[NAME].shown.id
    labels = dict(engine.containers[NAME].spec.labels)
    assert labels["homeport.server"] == "server-1"
    assert labels["homeport.replica"] == "r1"


async def test_a_container_that_dies_is_started_again_in_place(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        first = await agent.until_phase(Phase.READY)
        engine.end(NAME, 137)
        waiting = await agent.until_phase(Phase.WAITING)
        assert (waiting.exit_code, waiting.host_port) == (137, 0)
        again = await agent.until_phase(Phase.READY)
        assert (again.container_id, again.restarts) == (first.container_id, 1)
        assert again.host_port != first.host_port


async def test_a_program_that_ends_at_once_is_given_up_with_its_last_lines(engine: FakeEngine) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=FAIL, retry=False)))
        failed = await agent.until_phase(Phase.FAILED)
        assert failed.message == "exited with code 3; not started again (retry is false)"
        assert (failed.exit_code, failed.log_tail) == (3, ("starting", "boom"))


async def test_a_missing_image_fails_with_its_sentence(engine: FakeEngine) -> None:
    engine.registry["nosuch:1"] = ImageNotFound("image nosuch:1 does not exist")
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(image="nosuch:1", command=SERVE)))
        assert (await agent.until_phase(Phase.FAILED)).message == "image nosuch:1 does not exist"
    assert engine.containers == {}


async def test_an_image_that_no_registry_has_is_used_from_this_host_and_said_so(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port, always_pull=True)))
        ready = await agent.until_phase(Phase.READY)
        assert ready.message == "uses the local image hello:1: its registry cannot be reached"


async def test_a_stop_cancels_a_pull_that_is_under_way(engine: FakeEngine) -> None:
    engine.registry["big:1"] = 10**9
    async with agent_rig(engine) as agent:
        with engine.hold("pull") as reached:
            agent.assign(assignment(1, replica(image="big:1", command=SERVE)))
            await reached()
            agent.assign(assignment(2, replica(image="big:1", command=SERVE, wanted=Wanted.STOP)))
            await agent.until_phase(Phase.STOPPED)
    assert engine.containers == {}
    assert "big:1" not in engine.images


async def test_a_stop_that_comes_during_a_start_waits_for_it_and_then_stops_it(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        with engine.hold("start") as reached:
            agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
            await reached()
            agent.assign(assignment(2, replica(command=SERVE, container_port=port, wanted=Wanted.STOP)))
            await agent.until_phase(Phase.STOPPING)
            assert engine.calls.count("stop") == 0
        await agent.until_phase(Phase.STOPPED)
        assert not engine.containers[NAME].shown.is_running
    assert (("r1", Phase.READY)) not in agent.story


async def test_an_abort_overtakes_a_stop_with_a_long_grace(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SLOW, container_port=port)))
        await agent.until_phase(Phase.READY)
        agent.assign(assignment(2, replica(command=SLOW, wanted=Wanted.STOP, stop_grace_s=3600)))
        await agent.until_phase(Phase.STOPPING)
        agent.assign(assignment(3, replica(command=SLOW, wanted=Wanted.STOP, stop_grace_s=0)))
        assert (await agent.until_phase(Phase.STOPPED)).exit_code == 137


async def test_a_replica_that_leaves_the_list_leaves_nothing_behind(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        await agent.until_phase(Phase.READY)
        agent.assign(assignment(2))
        await agent.until(lambda: agent.observed() is None)
    assert engine.containers == {}


async def test_a_new_agent_adopts_what_runs_without_touching_it(engine: FakeEngine, port: int) -> None:
    assigned = replica(command=SERVE, container_port=port)
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, assigned))
        await agent.until_phase(Phase.READY)
        kept = agent.kept[-1]
    assert dict(kept.histories)["r1"].is_ready
    engine.calls.clear()
    async with agent_rig(engine, kept) as agent:
        await agent.until_phase(Phase.READY)
        agent.assign(assignment(2, assigned))
    assert not {"create", "start", "stop", "remove", "pull"} & set(engine.calls)
    assert {phase for _, phase in agent.story} == {Phase.READY}  # never out of rotation


async def test_a_container_of_nobody_we_know_is_never_touched(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        await agent.until_phase(Phase.READY)
    engine.calls.clear()
    async with agent_rig(engine) as agent:  # no journal, no server
        await agent.until(lambda: agent.machine.containers_known)
        assert engine.containers[NAME].shown.is_running
    assert not {"stop", "remove"} & set(engine.calls)


async def test_an_engine_that_goes_away_and_comes_back_is_followed(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        await agent.until_phase(Phase.READY)
        engine.go_down()
        engine.end(NAME, 255)  # it died with the engine: nobody is told
        engine.come_back()
        await agent.until_phase(Phase.WAITING)
        await agent.until_phase(Phase.READY)


async def test_without_an_engine_the_reason_is_told(engine: FakeEngine) -> None:
    engine.go_down()
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE)))
        await agent.until(lambda: agent.machine.can_tell)
        observed = agent.observed()
        assert observed is not None
        assert "Docker does not answer at /fake.sock" in observed.message
        assert "create" not in engine.calls


async def test_the_dead_are_started_again_while_the_server_is_away(engine: FakeEngine, port: int) -> None:
    assigned = replica(command=SERVE, container_port=port)
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, assigned))
        await agent.until_phase(Phase.READY)
    engine.end(NAME, 255)  # a power loss: every container ended, the agent's process too
    journal = JournalEntry(
        assignment(1, replica(command=SERVE, container_port=port, secrets_known=False)),
        (("r1", History(was_ready=True)),),
    )
    async with agent_rig(engine, journal) as agent:
        await agent.until_phase(Phase.READY)


async def test_nothing_is_left_running_when_the_agent_ends(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        await agent.until_phase(Phase.READY)
        tasks = set(agent.tasks)
    assert all(task.done() for task in tasks)
    assert engine.containers[NAME].shown.is_running
    assert len(asyncio.all_tasks()) == 1


CODE = "c" * 64


def said(agent: AgentRig) -> str:
    observed = agent.observed()
    return observed.message if observed else ""


async def test_code_is_fetched_and_laid_in_the_created_container_before_its_start(
    engine: FakeEngine, port: int
) -> None:
    code = FakeCode()
    async with agent_rig(engine, code=code) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port, code_id=CODE)))
        await agent.until_phase(Phase.READY)
    assert code.calls == [("fetch", CODE), ("fetch", CODE), ("lay", CODE)]
    calls = [it for it in engine.calls if it in ("create", "put", "start")]
    assert calls == ["create", "put", "start"]


async def test_a_start_in_place_does_not_lay_the_code_again(engine: FakeEngine, port: int) -> None:
    async with agent_rig(engine, code=FakeCode()) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port, code_id=CODE)))
        await agent.until_phase(Phase.READY)
        engine.end(NAME, 1)
        await agent.until_phase(Phase.WAITING)
        await agent.until_phase(Phase.READY)
    assert (engine.calls.count("put"), engine.calls.count("start")) == (1, 2)


async def test_a_replica_without_code_gets_none(engine: FakeEngine, port: int) -> None:
    code = FakeCode()
    async with agent_rig(engine, code=code) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port)))
        await agent.until_phase(Phase.READY)
    assert code.calls == []


async def test_a_container_whose_laying_failed_is_made_anew_and_never_started_without_its_code(
    engine: FakeEngine, port: int
) -> None:
    code = FakeCode()
    code.fails["lay"] = [CodeDamaged("content 123 was damaged")]
    async with agent_rig(engine, code=code) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port, code_id=CODE)))
        await agent.until(lambda: "content 123 was damaged; next try in 1 s" in said(agent))
        assert engine.containers == {}
        assert "start" not in engine.calls
        await agent.until_phase(Phase.READY)
    calls = [it for it in engine.calls if it in ("create", "put", "start", "remove")]
    assert calls == ["create", "put", "remove", "create", "put", "start"]


async def test_a_container_that_a_dead_agent_left_half_laid_is_laid_again_without_the_server(
    engine: FakeEngine, port: int
) -> None:
    made = replica(command=SERVE, container_port=port, code_id=CODE)
    await engine.create(container_spec(made, "server-1"))
    kept = JournalEntry(without_secrets(assignment(1, made)))
    code = FakeCode()
    async with agent_rig(engine, kept, code) as agent:
        await agent.until_phase(Phase.READY)
    assert ("lay", CODE) in code.calls
    assert engine.calls.count("create") == 1


async def test_without_its_secrets_a_half_laid_container_is_not_removed(engine: FakeEngine, port: int) -> None:
    made = replica(command=SERVE, container_port=port, code_id=CODE)
    await engine.create(container_spec(made, "server-1"))
    kept = JournalEntry(without_secrets(assignment(1, made)))
    code = FakeCode()
    code.fails["lay"] = [CodeDamaged("damaged")]
    async with agent_rig(engine, kept, code) as agent:
        await agent.until(lambda: said(agent).startswith("damaged; next try"))
        assert NAME in engine.containers
        await agent.until_phase(Phase.READY)
    assert "remove" not in engine.calls


async def test_a_server_that_is_away_is_waited_for(engine: FakeEngine, port: int) -> None:
    code = FakeCode()
    code.fails["fetch"] = [ServerAway("the code cannot be fetched: the server at x cannot be reached")]
    code.progress = (1_200_000, 3_400_000)
    async with agent_rig(engine, code=code) as agent:
        agent.assign(assignment(1, replica(command=SERVE, container_port=port, code_id=CODE)))
        await agent.until(lambda: said(agent).startswith("the code cannot be fetched: "))
        await agent.until_phase(Phase.READY)


async def test_code_that_is_refused_fails_with_its_sentence(engine: FakeEngine) -> None:
    code = FakeCode()
    code.fails["fetch"] = [CodeRefused("the code is refused by this host: '../x' is no path inside the folder")]
    async with agent_rig(engine, code=code) as agent:
        agent.assign(assignment(1, replica(command=SERVE, code_id=CODE)))
        failed = await agent.until_phase(Phase.FAILED)
        assert failed.message == "the code is refused by this host: '../x' is no path inside the folder"
    assert engine.containers == {}


# --- admission ---

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
