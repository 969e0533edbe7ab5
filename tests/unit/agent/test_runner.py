"""The runner on the fake engine, with real probes: what the server would see, and what the engine is asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.agent import assignment, replica
from fakes.agent_rig import AgentRig, agent_rig, listening
from fakes.code import FakeCode
from fakes.engine import FakeEngine, Program
from homeport_agent.code.base import CodeDamaged, CodeRefused, ServerAway
from homeport_agent.engine.base import ImageNotFound
from homeport_agent.machine import without_secrets
from homeport_agent.model import History, JournalEntry, Phase, Wanted
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
    assert "big:1" not in engine.known_images


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


async def test_what_serves_goes_on_over_a_restart_of_the_agent_without_an_engine(engine: FakeEngine, port: int) -> None:
    assigned = replica(command=SERVE, container_port=port)
    async with agent_rig(engine, boot_id="boot-1") as agent:
        agent.assign(assignment(1, assigned))
        before = await agent.until_phase(Phase.READY)
    engine.go_down()
    async with agent_rig(engine, agent.kept[-1], boot_id="boot-1") as agent:
        await agent.until(lambda: agent.machine.can_tell)
        now = agent.observed()
        assert now is not None
        assert (now.phase, now.host_port, now.container_id) == (Phase.READY, before.host_port, before.container_id)
        calls = len(engine.calls)
        engine.come_back()
        await agent.until(lambda: agent.machine.containers_known)
        assert {phase for _, phase in agent.story} == {Phase.READY}
        assert not {"create", "start", "stop", "restart"} & set(engine.calls[calls:])
        engine.end(NAME, 255)
        await agent.until_phase(Phase.WAITING)


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
