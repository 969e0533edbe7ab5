"""loops/runs: what an apply and a stop become, on a real database; what is decided stands in decide's own tests."""

import time
from dataclasses import replace
from typing import Any

import pytest
from fixtures.control import (
    State,
    add_host,
    add_replica,
    add_run,
    claim,
    get_replica,
    get_run,
    observe,
    revision,
    service,
)
from homeport_control.domain.hosts import Finding, Health
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.loops.runs import RunsLoop, goal_of
from homeport_control.store import events, hosts, replicas, reservations, runs
from homeport_control.store.events import Filter


@pytest.fixture
def loop(state: State) -> RunsLoop:
    return RunsLoop(state.database)


async def present(state: State, run_id: str) -> list[Replica]:
    async with state.database.read() as connection:
        found = (await replicas.of_runs(connection, [run_id])).get(run_id, [])
    return sorted(found, key=lambda replica: replica.index)


async def wanted(state: State, run_id: str, wish: RunWanted) -> None:
    async with state.database.write() as write:
        await runs.update(write, run_id, wanted=wish)


async def update(state: State, replica_id: str, **fields: Any) -> None:
    async with state.database.write() as write:
        await replicas.update(write, replica_id, **fields)


async def serving(state: State, replica_id: str, port: int = 40000) -> None:
    await observe(state, "h1", replica_id, Phase.READY, host_port=port)
    await update(state, replica_id, in_rotation=True)


async def test_an_applied_run_gets_its_replicas_once(state: State, loop: RunsLoop) -> None:
    run_id = await add_run(state, replicas=2)
    with state.database.changes.subscribe("replicas") as woken:
        await loop.turn(time.time())
        assert await woken.wait(0), "placement is woken"
    first = await present(state, run_id)
    assert [(r.index, r.revision, r.wanted, r.message) for r in first] == [
        (0, 1, Wanted.RUN, "waiting for a host"), (1, 1, Wanted.RUN, "waiting for a host"),
    ]  # fmt: skip
    await loop.turn(time.time())
    assert await present(state, run_id) == first


async def test_a_turn_that_has_nothing_to_do_writes_nothing(state: State, loop: RunsLoop) -> None:
    await add_run(state)
    for _ in range(2):
        await loop.turn(time.time())
    with state.database.changes.subscribe("runs", "replicas") as woken:
        turn = await loop.turn(time.time())
        assert not await woken.wait(0), "a loop must not wake itself for ever"
    assert turn.sentence.startswith("hello: ")


async def test_a_stop_drains_what_serves_and_ends_what_does_not(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state, replicas=2, stop_duration="30s")
    await add_replica(state, run_id, "serves", host_id="h1")
    await add_replica(state, run_id, "waits", index=1)
    await serving(state, "serves")
    await wanted(state, run_id, RunWanted.STOP)
    now_s = time.time()
    turn = await loop.turn(now_s)
    draining = await get_replica(state, "serves")
    assert (draining.wanted, draining.in_rotation, draining.drain_started_at_s) == (Wanted.DRAIN, False, now_s)
    assert (await get_replica(state, "waits")).ended_at_s == now_s
    assert turn.wake_at_s == now_s + 30
    assert (await get_run(state, run_id)).state is RunState.TERMINATING

    await update(state, "serves", drained_at_s=now_s + 1)
    await loop.turn(now_s + 2)
    stopping = await get_replica(state, "serves")
    assert (stopping.wanted, stopping.stop_grace_s) == (Wanted.STOP, 28.0)

    await observe(state, "h1", "serves", Phase.STOPPED)
    await loop.turn(now_s + 3)
    run = await get_run(state, run_id)
    assert (run.state, run.ended_at_s) == (RunState.TERMINATED, now_s + 3)
    assert (await get_replica(state, "serves")).ended_at_s == now_s + 3
    async with state.database.read() as connection:
        assert await reservations.list_all(connection) == ()
    assert (await loop.turn(now_s + 4)).sentence == "no runs"


async def test_a_drain_ends_at_the_stop_duration(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state, stop_duration="30s")
    await add_replica(state, run_id, "r1", host_id="h1")
    await serving(state, "r1")
    await wanted(state, run_id, RunWanted.STOP)
    now_s = time.time()
    await loop.turn(now_s)
    await loop.turn(now_s + 29)
    assert (await get_replica(state, "r1")).wanted is Wanted.DRAIN
    await loop.turn(now_s + 30)
    assert (await get_replica(state, "r1")).wanted is Wanted.STOP


async def test_an_abort_kills_at_once(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    await serving(state, "r1")
    await wanted(state, run_id, RunWanted.ABORT)
    await loop.turn(time.time())
    replica = await get_replica(state, "r1")
    assert (replica.wanted, replica.stop_grace_s, replica.in_rotation) == (Wanted.STOP, 0.0, False)


async def test_an_update_makes_the_new_before_it_breaks_the_old(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "old", host_id="h1")
    await serving(state, "old", 40001)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(port=9000)), time.time())
    await loop.turn(time.time())
    new = next(r for r in await present(state, run_id) if r.revision == 2)
    assert (await get_replica(state, "old")).wanted is Wanted.RUN
    async with state.database.write() as write:
        await replicas.claim(write, claim(new.id, "h1"))
    await observe(state, "h1", new.id, Phase.READY, host_port=40002)
    await loop.turn(time.time())
    assert (await get_replica(state, "old")).wanted is Wanted.RUN, "ready is not in rotation yet"
    await update(state, new.id, in_rotation=True)
    await loop.turn(time.time())
    assert (await get_replica(state, "old")).wanted is Wanted.DRAIN


async def test_a_first_revision_that_fails_fails_the_run_with_its_last_lines(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.FAILED, message="it exited 3 times", log_tail=("no such model",))
    now_s = time.time()
    await loop.turn(now_s)
    run = await get_run(state, run_id)
    assert (run.state, run.ended_at_s, run.log_tail) == (RunState.FAILED, now_s, ("no such model",))
    assert "it exited 3 times" in run.reason
    assert (await get_replica(state, "r1")).wanted is Wanted.STOP, "its container is removed in the end"
    await observe(state, "h1", "r1", Phase.STOPPED)
    await loop.turn(now_s + 1)
    assert await present(state, run_id) == []
    assert (await get_run(state, run_id)).state is RunState.FAILED


async def test_an_update_that_fails_is_given_up_and_what_served_goes_on(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.update(write, run_id, ever_published=True)
        await runs.add_revision(write, run_id, 2, revision(state, service(image="broken:1")), time.time())
    await add_replica(state, run_id, "old", host_id="h1")
    await serving(state, "old")
    await add_replica(state, run_id, "new", index=1, revision=2, host_id="h1")
    await observe(state, "h1", "new", Phase.FAILED, message="the image does not exist", log_tail=("last words",))
    now_s = time.time()
    for _ in range(3):
        await loop.turn(now_s)
    run = await get_run(state, run_id)
    assert run.current is not None
    assert (run.current.number, run.ended_at_s, run.log_tail) == (1, None, ("last words",))
    assert "the image does not exist" in run.newest.failed
    assert (await get_replica(state, "old")).wanted is Wanted.RUN
    assert (await get_replica(state, "new")).wanted is Wanted.STOP


async def test_several_runs_go_their_own_ways_in_one_turn(state: State, loop: RunsLoop) -> None:
    one, two = await add_run(state, "one"), await add_run(state, "two", replicas=3)
    await wanted(state, one, RunWanted.STOP)
    turn = await loop.turn(time.time())
    assert (await get_run(state, one)).state is RunState.TERMINATED
    assert len(await present(state, two)) == 3
    assert "one: " in turn.sentence
    assert "two: " in turn.sentence


async def test_the_goal_is_the_newest_revision_that_was_not_given_up(state: State) -> None:
    run_id = await add_run(state, replicas=2, max_duration="1h", retry=False)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(replicas=5)), 2000.0)
        await runs.give_up_revision(write, run_id, 2, "broken")
    goal = goal_of(await get_run(state, run_id), ())
    assert (goal.revision, goal.count, goal.retry, goal.max_duration_s, goal.fallback_revision) == (
        1, 2, False, 3600.0, None,
    )  # fmt: skip
    async with state.database.write() as write:
        await runs.give_up_revision(write, run_id, 1, "broken too")
    assert goal_of(await get_run(state, run_id), ()).revision == 2, "a run always has a goal"


async def test_a_run_that_cannot_be_decided_does_not_hold_up_the_others(state: State, loop: RunsLoop) -> None:
    broken = await add_run(state, "broken", at_s=1000.0)
    async with state.database.write() as write:
        await runs.add_revision(write, broken, 2, runs.NewRevision("{}", state.sealer.seal("{}"), "alice"), 1001.0)
    good = await add_run(state, "good", at_s=2000.0)
    turn = await loop.turn(3000.0)
    assert len(await present(state, good)) == 1
    assert turn.wake_at_s is not None
    assert turn.wake_at_s <= 3005.0


async def test_a_replacement_has_the_cause_of_what_it_replaces(state: State, loop: RunsLoop) -> None:
    """The host of one goes away: the story from there to the new replica is one, and the other replica has no part in it."""
    run_id = await add_run(state, replicas=2)
    applied = (await get_run(state, run_id)).cause_id
    await add_host(state)
    await loop.turn(time.time())
    first, second = await present(state, run_id)
    assert {first.cause_id, second.cause_id} == {applied}
    for replica, port in ((first, 40001), (second, 40002)):
        async with state.database.write() as write:
            assert await replicas.claim(write, claim(replica.id, "h1"))
        await serving(state, replica.id, port)
    await loop.turn(time.time())
    async with state.database.write(cause_id="power") as write:
        await replicas.update(write, first.id, lost=True)
    await loop.turn(time.time())
    by_index = {(replica.index, replica.lost): replica.cause_id for replica in await present(state, run_id)}
    assert by_index == {(0, True): "power", (0, False): "power", (1, False): applied}
    async with state.database.read() as connection:
        told = [event.sentence for event in await events.newest(connection, Filter(cause_id="power"), 10)]
    assert told == ["replica 0 of hello is lost: its host h1 is away", "replica 0 of hello is wanted"]
    async with state.database.write(cause_id="stop") as write:
        await runs.update(write, run_id, wanted=RunWanted.STOP)
    await loop.turn(time.time())
    assert {replica.cause_id for replica in await present(state, run_id)} == {"stop"}


LOST = Finding("gpu-lost", Health.FAILING, "it has fallen off the bus", gpu_uuid="GPU-3f2a")


async def on_gpu(state: State, run_id: str, replica_id: str, gpu_uuid: str) -> None:
    await add_replica(state, run_id, replica_id)
    async with state.database.write() as write:
        assert await replicas.claim(write, replace(claim(replica_id, "h1"), gpu_uuids=(gpu_uuid,)))


async def change_host(state: State, **changed: Any) -> str:
    """Returns the cause of it."""
    async with state.database.write() as write:
        await hosts.update(write, "h1", changed)
        write.touch("health")
        return write.cause_id


async def test_a_replica_leaves_a_failing_gpu_when_another_serves_and_the_events_tell_the_cause(
    state: State, loop: RunsLoop
) -> None:
    assert "health" in loop.topics
    await add_host(state)
    run_id = await add_run(state)
    await on_gpu(state, run_id, "old", "GPU-3f2a")
    await serving(state, "old")
    await loop.turn(time.time())
    assert [it.id for it in await present(state, run_id)] == ["old"]

    cause_id = await change_host(state, findings=(LOST,))
    turn = await loop.turn(time.time())
    assert "replica 0 must leave h1 (GPU 3f2a is failing: it has fallen off the bus)" in turn.sentence
    new = next(it for it in await present(state, run_id) if it.id != "old")
    assert (new.index, new.cause_id) == (0, cause_id)
    assert (await get_replica(state, "old")).wanted is Wanted.RUN

    async with state.database.write() as write:
        await replicas.claim(write, replace(claim(new.id, "h1"), gpu_uuids=("GPU-77c0",)))
    await serving(state, new.id, 40001)
    await loop.turn(time.time())
    assert (await get_replica(state, "old")).wanted is Wanted.DRAIN
    async with state.database.read() as connection:
        told = await events.newest(connection, Filter(cause_id=cause_id), 100)
    assert "drains on h1: it must leave h1 (GPU 3f2a is failing" in "\n".join(it.sentence for it in told)


async def test_a_gpu_that_heals_keeps_its_replica(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await on_gpu(state, run_id, "old", "GPU-3f2a")
    await serving(state, "old")
    await change_host(state, cordoned_gpus=("GPU-3f2a",))
    await loop.turn(time.time())
    assert len(await present(state, run_id)) == 2
    await change_host(state, cordoned_gpus=())
    await loop.turn(time.time())
    assert [it.id for it in await present(state, run_id)] == ["old"]


async def test_a_drained_host_is_left_by_all(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state, retry=False)
    await add_replica(state, run_id, "old", host_id="h1")
    await serving(state, "old")
    await change_host(state, cordoned=True)
    turn = await loop.turn(time.time())
    assert "replica 0 must leave h1 (the host is drained)" in turn.sentence
    assert len(await present(state, run_id)) == 2


async def test_a_refusal_is_placed_anew_after_a_pause_and_remembered(state: State, loop: RunsLoop) -> None:
    await add_host(state)
    run_id = await add_run(state, retry=False)
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.FAILED, refused=True, message="GPU 3f2a: pid 3123 python3 holds 12.8GB")
    now_s = time.time()
    turn = await loop.turn(now_s)
    assert "replica 0 was refused by its host: GPU 3f2a: pid 3123 python3 holds 12.8GB" in turn.sentence
    await observe(state, "h1", "r1", Phase.STOPPED)
    await loop.turn(now_s)
    turn = await loop.turn(now_s + 0.2)
    assert "tried again in 1 s, its last host refused it: GPU 3f2a: pid 3123 python3 holds 12.8GB" in turn.sentence
    assert await present(state, run_id) == []
    assert turn.wake_at_s == now_s + 1.0
    await loop.turn(now_s + 1.0)
    assert len(await present(state, run_id)) == 1
    assert (await get_run(state, run_id)).ended_at_s is None
    async with state.database.read() as connection:
        told = [it.sentence for it in await events.newest(connection, Filter(kind="replica"), 100)]
    assert any("was refused: GPU 3f2a: pid 3123 python3 holds 12.8GB" in it for it in told)
