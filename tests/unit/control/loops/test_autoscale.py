"""loops/autoscale: load becomes another number of replicas on a real database, with its event; what is decided stands in
decide's own tests."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from fixtures.control import (
    State,
    add_host,
    add_replica,
    add_run,
    claim,
    get_run,
    observe,
    revision,
    service,
    until_true,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.scaling import LoadSample
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.loops.autoscale import AutoscaleLoop
from homeport_control.loops.loop import Loop
from homeport_control.loops.placement import PlacementLoop
from homeport_control.loops.runs import RunsLoop
from homeport_control.store import events, hosts, replicas, runs
from homeport_control.store.connect import Database

NOW_S = 50_000.0
RULE = {"metric": "concurrency", "target": 1, "scale_up_delay": "0s", "scale_down_delay": "5s", "window": "5s"}


@dataclass
class Traffic:
    """So many requests at each service, for as long as is looked back; None: nothing is known."""

    in_flight: dict[str, int | None] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    read: list[tuple[str, float, float]] = field(default_factory=list)

    def __call__(self, service: str, now_s: float, window_s: float) -> tuple[LoadSample, ...] | None:
        self.read.append((service, now_s, window_s))
        busy, held = self.in_flight.get(service, 0), self.held.get(service, 0)
        if busy is None:
            return None
        seconds = range(math.ceil(window_s))
        return tuple(LoadSample(now_s - ago_s, float(busy + held), busy, held) for ago_s in reversed(seconds))


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def loop(state: State, traffic: Traffic) -> AutoscaleLoop:
    return AutoscaleLoop(state.database, traffic)


async def serving(state: State, run_id: str, number: int = 1, *, since: int = 0, revision: int = 1) -> None:
    for index in range(since, number):
        replica_id = f"{run_id}-{revision}-{index}"
        await add_replica(state, run_id, replica_id, index=index, revision=revision, host_id="h1")
        await serves(state, run_id, replica_id)


async def serves(state: State, run_id: str, replica_id: str) -> None:
    await observe(state, "h1", replica_id, Phase.READY, host_port=40000)
    async with state.database.write() as write:
        await replicas.update(write, replica_id, in_rotation=True)
        await runs.update(write, run_id, ever_published=True, running_since_s=1.0, state=RunState.RUNNING)


async def a_scaled_run(state: State, name: str = "web", *, there: int = 1, **fields: Any) -> str:
    """With that many replicas in rotation, which is what it was scaled to."""
    run_id = await add_run(state, name, **{"replicas": "1..4", "scaling": RULE, **fields})
    await serving(state, run_id, there)
    async with state.database.write() as write:
        await runs.update(write, run_id, scaled_to=there)
    return run_id


async def present(state: State, run_id: str) -> list[Replica]:
    async with state.database.read() as connection:
        return list((await replicas.of_runs(connection, [run_id])).get(run_id, []))


async def told(state: State, cause_id: str = "") -> list[events.Event]:
    async with state.database.read() as connection:
        return list(await events.newest(connection, events.Filter(kind="run", cause_id=cause_id), 50))


async def scaled(state: State) -> list[str]:
    return [event.sentence for event in await told(state) if "is scaled" in event.sentence]


async def quiet_for(loop: AutoscaleLoop, seconds: int, *, since_s: float = NOW_S) -> float:
    """A turn in each second. Returns when the last was."""
    for number in range(seconds):
        await loop.turn(since_s + number)
    return since_s + seconds - 1


@pytest.fixture(autouse=True)
async def host(state: State) -> None:
    await add_host(state)


async def test_more_load_is_more_replicas_with_its_event_and_the_runs_loop_acts(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state)
    traffic.in_flight["web"] = 3
    with state.database.changes.subscribe("runs") as woken:
        turn = await loop.turn(NOW_S)
        assert await woken.wait(0), "the runs loop is woken"
    assert turn.wake_at_s is not None
    assert turn.wake_at_s <= NOW_S + 1
    run = await get_run(state, run_id)
    assert run.scaled_to == 3
    (sentence,) = await scaled(state)
    assert sentence.startswith("web is scaled from 1 to 3 replicas: ")
    assert sentence.endswith(turn.sentence.removeprefix("web is scaled from 1 to 3 replicas: "))
    await RunsLoop(state.database).turn(NOW_S)
    found = await present(state, run_id)
    assert len(found) == 3
    assert {it.cause_id for it in found if it.host_id is None} == {run.cause_id}, "they follow from the scaling"
    assert {event.sentence for event in await told(state, run.cause_id)} >= {sentence}


async def test_without_news_nothing_is_written(state: State, loop: AutoscaleLoop, traffic: Traffic) -> None:
    await a_scaled_run(state)
    await add_run(state, "exact", replicas=2)
    traffic.in_flight["web"] = 1
    with state.database.changes.subscribe("runs", "events", "replicas") as woken:
        await quiet_for(loop, 20)
        assert not await woken.wait(0)
    assert {service for service, _, _ in traffic.read} == {"web"}, "one with one number is not looked at"
    assert {window_s for _, _, window_s in traffic.read} == {5.0}


async def test_less_load_is_fewer_replicas_after_the_delay_the_least_busy_ones_go(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state, there=3)
    traffic.in_flight["web"] = 3
    await quiet_for(loop, 8)
    traffic.in_flight["web"] = 1
    await quiet_for(loop, 60, since_s=NOW_S + 8)
    assert (await get_run(state, run_id)).scaled_to == 1
    busy = {f"{run_id}-1-0": 0, f"{run_id}-1-1": 2, f"{run_id}-1-2": 1}
    await RunsLoop(state.database, lambda run_name: busy if run_name == "web" else None).turn(NOW_S)
    left = [it.index for it in await present(state, run_id) if it.wanted is Wanted.RUN]
    assert left == [1]


async def test_what_is_not_known_changes_nothing(state: State, loop: AutoscaleLoop, traffic: Traffic) -> None:
    run_id = await a_scaled_run(state, there=3)
    traffic.in_flight["web"] = None
    await quiet_for(loop, 100)
    assert (await get_run(state, run_id)).scaled_to == 3
    assert loop.said(run_id)


async def test_a_run_sleeps_when_it_is_idle_and_wakes_when_a_request_is_held(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state, replicas="0..4")
    now_s = await quiet_for(loop, 60)
    assert (await get_run(state, run_id)).scaled_to == 0
    runs_loop = RunsLoop(state.database)
    await runs_loop.turn(now_s)
    run = await get_run(state, run_id)
    assert run.state is RunState.RUNNING
    assert run.reason.startswith("scaled to zero; the first request starts a replica")

    traffic.held["web"] = 1
    loop.poke()
    await loop.turn(now_s + 0.06)  # less than a second after the last
    run = await get_run(state, run_id)
    assert run.scaled_to == 1
    await runs_loop.turn(now_s + 0.06)
    new = [it for it in await present(state, run_id) if it.wanted is Wanted.RUN]
    assert [(it.index, it.cause_id) for it in new] == [(0, run.cause_id)], "not what made the one before go"


async def test_a_revision_that_has_not_been_ready_yet_does_not_sleep(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await add_run(state, "web", replicas="0..4", scaling=RULE)
    await add_replica(state, run_id, "r0", host_id="h1")
    now_s = await quiet_for(loop, 100)
    assert await scaled(state) == []
    await serves(state, run_id, "r0")
    now_s = await quiet_for(loop, 60, since_s=now_s + 1)
    assert (await get_run(state, run_id)).scaled_to == 0
    async with state.database.write() as write:  # what an apply writes
        await runs.add_revision(
            write, run_id, 2, revision(state, service("web", port=9, replicas="0..4", scaling=RULE)), now_s
        )
        await runs.update(write, run_id, scaled_to=1)
    await quiet_for(loop, 100, since_s=now_s + 1)
    assert (await get_run(state, run_id)).scaled_to == 1


async def test_a_run_that_is_stopped_or_has_one_number_is_left_alone(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state)
    traffic.in_flight["web"] = 3
    async with state.database.write() as write:
        await runs.update(write, run_id, wanted=RunWanted.STOP)
    await quiet_for(loop, 3)
    assert (await get_run(state, run_id)).scaled_to == 1
    assert loop.said(run_id) == ""


async def test_what_was_decided_on_is_looked_at_again_in_the_transaction(
    state: State, loop: AutoscaleLoop, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await a_scaled_run(state)
    traffic.in_flight["web"] = 3
    await loop.turn(NOW_S - 10)
    async with state.database.write() as write:
        await runs.update(write, run_id, scaled_to=1)
    write_of = Database.write

    def stopped_first(database: Database, **more: Any) -> Any:
        """A stop comes between the look and the write."""
        monkeypatch.setattr(Database, "write", write_of)

        class Late:
            async def __aenter__(self) -> Any:
                async with write_of(database) as write:
                    await runs.update(write, run_id, wanted=RunWanted.STOP)
                self.inner = write_of(database, **more)
                return await self.inner.__aenter__()

            async def __aexit__(self, *error: Any) -> Any:
                return await self.inner.__aexit__(*error)

        return Late()

    monkeypatch.setattr(Database, "write", stopped_first)
    before = await scaled(state)
    await loop.turn(NOW_S + 20)
    assert (await get_run(state, run_id)).wanted is RunWanted.STOP, "the stop came"
    assert (await get_run(state, run_id)).scaled_to == 1
    assert await scaled(state) == before


async def test_a_wish_that_no_host_can_carry_says_why_and_keeps_what_serves(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state, hosts=["h1"])
    traffic.in_flight["web"] = 3
    await loop.turn(NOW_S)
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"labels": ()})
        await write.connection.exec_driver_sql("UPDATE hosts SET connection = 'unreachable'")
    runs_loop, placement = RunsLoop(state.database), PlacementLoop(state.database)
    await runs_loop.turn(NOW_S)
    await placement.turn(NOW_S)
    await runs_loop.turn(NOW_S)
    await quiet_for(loop, 5, since_s=NOW_S + 1)
    run = await get_run(state, run_id)
    assert (run.scaled_to, run.state) == (3, RunState.RUNNING)
    assert run.reason.startswith("1 of 3 replicas in rotation; replica 1 waits for a host: 0 of 1 host fit: 1 is ")
    assert "; 2 replicas wait for a host: 0 of 1 host fit: 1 is " in loop.said(run_id)
    kept = [it for it in await present(state, run_id) if it.in_rotation]
    assert [(it.index, it.wanted) for it in kept] == [(0, Wanted.RUN)]
    traffic.in_flight["web"] = 1
    await quiet_for(loop, 60, since_s=NOW_S + 6)
    await runs_loop.turn(NOW_S + 66)
    left = [(it.index, it.in_rotation) for it in await present(state, run_id) if it.wanted is Wanted.RUN]
    assert left == [(0, True)], "those that wait go first"


async def test_scaling_in_a_rollout_belongs_to_its_story_and_breaks_nothing(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    run_id = await a_scaled_run(state)
    async with state.database.write(cause_id="applied") as write:
        new = revision(state, service("web", port=9, replicas="1..4", scaling=RULE))
        await runs.add_revision(write, run_id, 2, new, NOW_S)
    runs_loop = RunsLoop(state.database)
    await runs_loop.turn(NOW_S)
    traffic.in_flight["web"] = 2
    await loop.turn(NOW_S)
    assert (await get_run(state, run_id)).scaled_to == 2
    assert "is scaled" in (await told(state, "applied"))[-1].sentence
    await runs_loop.turn(NOW_S)
    found = await present(state, run_id)
    assert sorted((it.revision, it.index) for it in found) == [(1, 0), (2, 0), (2, 1)]
    for replica in found:
        if replica.revision == 2:
            async with state.database.write() as write:
                assert await replicas.claim(write, claim(replica.id, "h1"))
            await serves(state, run_id, replica.id)
    await runs_loop.turn(NOW_S)
    left = [it.revision for it in await present(state, run_id) if it.wanted is Wanted.RUN]
    assert left == [2, 2]


async def test_changes_of_runs_are_looked_at_once_a_second_and_a_held_request_at_once(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    await a_scaled_run(state)
    await loop.turn(NOW_S)
    for ago_s in (0.0, 0.2, 0.9):
        turn = await loop.turn(NOW_S + ago_s)
        assert turn.wake_at_s == NOW_S + 1
    assert len(traffic.read) == 1
    await loop.turn(NOW_S + 1)
    assert len(traffic.read) == 2
    loop.poke()
    await loop.turn(NOW_S + 1.1)
    assert len(traffic.read) == 3
    for _ in range(100):
        loop.poke()
        await loop.turn(NOW_S + 1.12)
    assert len(traffic.read) == 3, "a hundred held requests are not a hundred looks"
    await loop.turn(NOW_S - 1000)
    assert len(traffic.read) == 4, "a clock that was set back stops nothing"


async def test_many_are_scaled_in_one_turn_each_with_a_cause_of_its_own(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    ids = [await a_scaled_run(state, f"web-{number}") for number in range(3)]
    traffic.in_flight = {f"web-{number}": 2 + number for number in range(3)}
    with state.database.changes.subscribe("runs") as woken:
        await loop.turn(NOW_S)
        assert await woken.wait(0)
        assert not await woken.wait(0), "one transaction"
    found = [await get_run(state, run_id) for run_id in ids]
    assert [run.scaled_to for run in found] == [2, 3, 4]
    assert len({run.cause_id for run in found}) == 3


async def test_a_run_that_cannot_be_decided_does_not_hold_up_the_others(state: State, traffic: Traffic) -> None:
    def load(service: str, now_s: float, window_s: float) -> tuple[LoadSample, ...] | None:
        if service == "broken":
            raise ValueError("broken")
        return traffic(service, now_s, window_s)

    broken, unreadable = await a_scaled_run(state, "broken"), await a_scaled_run(state, "unreadable")
    web = await a_scaled_run(state)
    async with state.database.write() as write:
        await write.connection.execute(
            sa.text("UPDATE revisions SET spec = '{' WHERE run_id = :run"), {"run": unreadable}
        )
    traffic.in_flight["web"] = 3
    await AutoscaleLoop(state.database, load).turn(NOW_S)
    assert [(await get_run(state, run_id)).scaled_to for run_id in (broken, web)] == [1, 3]


async def test_without_a_range_it_sleeps_until_there_is_one(
    state: State, loop: AutoscaleLoop, traffic: Traffic
) -> None:
    await add_run(state, "exact", replicas=2)
    assert (await loop.turn(NOW_S)).wake_at_s is None
    await a_scaled_run(state)
    assert (await loop.turn(NOW_S + 2)).wake_at_s is not None


async def test_a_poke_wakes_the_running_loop(state: State, loop: AutoscaleLoop, traffic: Traffic) -> None:
    run_id = await a_scaled_run(state, replicas="0..4")
    async with state.database.write() as write:
        await runs.update(write, run_id, scaled_to=0)
        await replicas.end(write, f"{run_id}-1-0", 1.0)
    running = asyncio.create_task(Loop("autoscale", state.database.changes, loop.topics, loop.turn).run())
    try:
        await until_true(lambda: traffic.read)
        traffic.held["web"] = 1
        with state.database.changes.subscribe("events") as written:
            loop.poke()
            assert await written.wait(0.9), "before the next look of each second"
        assert (await get_run(state, run_id)).scaled_to == 1
    finally:
        running.cancel()
