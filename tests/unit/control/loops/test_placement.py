"""loops/placement: waiting replicas get a host and its claim, or a sentence why not."""

import time

import pytest
from fixtures.control import State, add_host, add_replica, add_run, get_replica, get_run
from homeport_control.domain.hosts import Finding, Gpu, Health, HostFacts
from homeport_control.domain.replicas import Wanted
from homeport_control.domain.services import RunState
from homeport_control.loops.placement import PlacementLoop, ask_of
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, image_of
from homeport_control.spec.service import spec_from_json
from homeport_control.store import hosts, replicas, reservations, runs, volumes


@pytest.fixture
def loop(state: State) -> PlacementLoop:
    return PlacementLoop(state.database)


async def test_a_waiting_replica_gets_a_host_and_its_claim(state: State, loop: PlacementLoop) -> None:
    await add_host(state)
    run_id = await add_run(state, resources={"cpu": "2", "memory": "4GB"})
    await add_replica(state, run_id, "r1")
    with state.database.changes.subscribe("host:h1") as pushed:
        assert (await loop.turn(time.time())).sentence == "placed 1 of 1 waiting replicas"
        assert await pushed.wait(0), "its host is told at once"
    assert (await get_replica(state, "r1")).host_id == "h1"
    async with state.database.read() as connection:
        (claimed,) = await reservations.list_all(connection)
    assert (claimed.replica_id, claimed.cpus, claimed.memory_mib, claimed.run_name) == ("r1", 2.0, 4096, "hello")
    assert (await loop.turn(time.time())).sentence == "no replica waits for a host"


async def test_replicas_with_a_named_volume_all_go_to_the_host_that_has_it(state: State, loop: PlacementLoop) -> None:
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    run_id = await add_run(state, volumes=["models:/m", "/srv:/srv"], resources={"cpu": "3"})
    for number in range(3):
        await add_replica(state, run_id, f"r{number}", index=number)
    assert (await loop.turn(time.time())).sentence == "placed 2 of 3 waiting replicas"  # 8 cpus, and h2 is free
    assert [(await get_replica(state, f"r{number}")).host_id for number in range(3)] == ["h1", "h1", None]
    assert "h1 has" in (await get_replica(state, "r2")).message
    async with state.database.write() as write:
        assert await volumes.homes(write.connection) == {"models": "h1"}
        await replicas.end(write, "r0", time.time())
        await replicas.end(write, "r1", time.time())
    await loop.turn(time.time())
    assert (await get_replica(state, "r2")).host_id == "h1", "the data outlives the replicas"


async def test_what_is_claimed_is_not_given_twice(state: State, loop: PlacementLoop) -> None:
    await add_host(state)  # 8 cpus
    run_id = await add_run(state, resources={"cpu": "5", "memory": "1GB"})
    for number in range(2):
        await add_replica(state, run_id, f"r{number}", index=number)
    assert (await loop.turn(time.time())).sentence == "placed 1 of 2 waiting replicas"
    waiting = await get_replica(state, "r1")
    assert waiting.host_id is None
    assert "0 of 1 host fit" in waiting.message
    assert "5" in waiting.message
    async with state.database.write() as write:
        await replicas.end(write, "r0", time.time())
    assert (await loop.turn(time.time())).sentence == "placed 1 of 1 waiting replicas"
    assert (await get_replica(state, "r1")).host_id == "h1"


async def test_why_not_is_written_once(state: State, loop: PlacementLoop) -> None:
    await add_replica(state, await add_run(state), "r1")
    await loop.turn(time.time())
    assert (await get_replica(state, "r1")).message == "there is no host"
    with state.database.changes.subscribe("replicas") as woken:
        await loop.turn(time.time())
        assert not await woken.wait(0), "a turn must not wake itself for ever"


async def test_a_host_that_is_away_or_cordoned_gets_nothing(state: State, loop: PlacementLoop) -> None:
    await add_host(state, "h1", connected=False)
    await add_host(state, "h2")
    async with state.database.write() as write:
        await hosts.update(write, "h2", {"cordoned": True})
    await add_replica(state, await add_run(state), "r1")
    await loop.turn(time.time())
    replica = await get_replica(state, "r1")
    assert replica.host_id is None
    assert "unreachable" in replica.message
    assert "cordoned" in replica.message


async def test_what_is_to_stop_or_belongs_to_an_ended_run_is_left_alone(state: State, loop: PlacementLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "stopping")
    await add_replica(state, await add_run(state, "other"), "orphan")
    async with state.database.write() as write:
        await replicas.update(write, "stopping", wanted=Wanted.STOP)
        other = await runs.active_by_name(write.connection, "other")
        assert other is not None
        await runs.update(write, other.id, state=RunState.FAILED, ended_at_s=5.0)
    assert (await loop.turn(time.time())).sentence == "placed 0 of 0 waiting replicas"
    assert (await get_replica(state, "stopping")).host_id is None
    assert (await get_replica(state, "orphan")).host_id is None


async def test_the_ask_is_that_of_the_replicas_own_revision(state: State) -> None:
    run_id = await add_run(state, resources={"cpu": "2", "memory": "1GB"})
    await add_replica(state, run_id, "r1")
    ask = ask_of(await get_run(state, run_id), await get_replica(state, "r1"))
    assert (ask.replica_id, ask.run_name, ask.cpus, ask.memory_mib) == ("r1", "hello", 2.0, 1024)
    spec = spec_from_json((await get_run(state, run_id)).newest.spec_json)
    assert ask.image == image_of(spec, DEFAULT_TEMPLATE)


async def test_what_waits_for_a_sick_gpu_is_placed_when_it_is_well_again(state: State, loop: PlacementLoop) -> None:
    one = Gpu("G1", "NVIDIA RTX A5000", 24564, 4)
    facts = HostFacts(cpus=8, memory_mib=16384, disk_free_mib=99_999, gpus=(one,))
    await add_host(state)
    broken = Finding("xid-79", Health.FAILING, "it fell off the bus", gpu_uuid="G1")
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": facts, "findings": (broken,)})
    run_id = await add_run(state, resources={"gpu": {"memory": "8GB", "shared": True}})
    await add_replica(state, run_id, "r1")
    await loop.turn(time.time())
    assert "a GPU is failing: it fell off the bus" in (await get_replica(state, "r1")).message
    with state.database.changes.subscribe(*PlacementLoop.topics) as woken:
        async with state.database.write() as write:
            await hosts.update(write, "h1", {"findings": ()})
        assert await woken.wait(0)
    await loop.turn(time.time())
    assert (await get_replica(state, "r1")).gpu_uuids == ("G1",)
    async with state.database.read() as connection:
        (claimed,) = await reservations.list_all(connection)
    assert (claimed.exclusive, claimed.gpu_memory_mib) == (False, 8192)
