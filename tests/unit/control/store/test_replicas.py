"""store/replicas: what a host may say, who gets a claim, and what is left at the end."""

import pytest
from fixtures.control import State, add_host, add_replica, add_run, claim, get_replica, observe
from homeport_control.domain.replicas import Observation, Phase, Wanted
from homeport_control.store import replicas, reservations


@pytest.fixture
async def run_id(state: State) -> str:
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    return await add_run(state)


async def test_a_host_speaks_only_for_what_it_was_given(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1", host_id="h1")
    await add_replica(state, run_id, "waiting")
    assert await observe(state, "h2", "r1", Phase.READY, host_port=1) == 0
    assert await observe(state, "h2", "waiting", Phase.READY, host_port=1) == 0
    assert await observe(state, "h2", "never-heard-of", Phase.READY) == 0
    assert (await get_replica(state, "r1")).phase is Phase.QUEUED
    assert await observe(state, "h1", "r1", Phase.READY, host_port=1) == 1


async def test_a_report_that_says_nothing_new_wakes_nobody(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.PULLING, pulled_bytes=5, log_tail=("a", "b"))
    with state.database.changes.subscribe("replicas") as subscription:
        assert await observe(state, "h1", "r1", Phase.PULLING, pulled_bytes=5, log_tail=("a", "b")) == 0
        assert not await subscription.wait(0)
        assert await observe(state, "h1", "r1", Phase.PULLING, pulled_bytes=6, log_tail=("a", "b")) == 1
        assert await subscription.wait(0)


async def test_the_first_time_that_it_was_ready_is_kept(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.READY, host_port=1)
    await observe(state, "h1", "r1", Phase.UNREADY, host_port=1)
    async with state.database.write() as write:
        await replicas.observe(write, "h1", [Observation("r1", Phase.READY, host_port=1)], 9999.0)
    assert (await get_replica(state, "r1")).first_ready_at_s == 1234.0


async def test_a_replica_is_claimed_once(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1")
    with state.database.changes.subscribe("host:h1") as pushed:
        async with state.database.write() as write:
            assert await replicas.claim(write, claim("r1", "h1"))
            assert not await replicas.claim(write, claim("r1", "h2"))
        assert await pushed.wait(0), "its host is told"
    async with state.database.read() as connection:
        assert await reservations.list_all(connection) == (claim("r1", "h1"),)
    assert (await get_replica(state, "r1")).host_id == "h1"


@pytest.mark.parametrize("changed", [{"wanted": Wanted.STOP}, {"ended_at_s": 5.0}])
async def test_what_does_not_wait_any_more_gets_no_claim(state: State, run_id: str, changed: dict[str, object]) -> None:
    await add_replica(state, run_id, "r1")
    async with state.database.write() as write:
        await replicas.update(write, "r1", **changed)
        assert not await replicas.claim(write, claim("r1", "h1"))
        assert await reservations.list_all(write.connection) == ()


async def test_the_end_frees_the_reservation_and_the_hosts_list(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1", host_id="h1")
    with state.database.changes.subscribe("host:h1") as pushed, state.database.changes.subscribe("hosts") as free:
        async with state.database.write() as write:
            await replicas.end(write, "r1", 2000.0)
        assert await pushed.wait(0)
        assert await free.wait(0), "who waits for room looks again"
    async with state.database.read() as connection:
        assert await reservations.list_all(connection) == ()
        assert await replicas.on_host(connection, "h1") == ()
        assert await replicas.list_active(connection) == ()


async def test_what_has_ended_is_not_changed_any_more(state: State, run_id: str) -> None:
    await add_replica(state, run_id, "r1", host_id="h1")
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
        await replicas.update(write, "r1", message="late", in_rotation=True)
    assert await observe(state, "h1", "r1", Phase.READY, host_port=1) == 0
    replica = await get_replica(state, "r1")
    assert (replica.message, replica.in_rotation, replica.phase) == ("assigned", False, Phase.QUEUED)


async def test_of_a_run_only_those_that_ended_lately_come_with_those_that_are_there(state: State, run_id: str) -> None:
    for replica_id, ended_at_s in (("old", 100.0), ("recent", 200.0), ("there", None)):
        await add_replica(state, run_id, replica_id)
        if ended_at_s is not None:
            async with state.database.write() as write:
                await replicas.end(write, replica_id, ended_at_s)
    async with state.database.read() as connection:
        recent = await replicas.of_runs(connection, [run_id, "other"], ended_since_s=150.0)
        left = await replicas.of_runs(connection, [run_id])
    assert {key: {replica.id for replica in found} for key, found in recent.items()} == {run_id: {"recent", "there"}}
    assert [replica.id for replica in left[run_id]] == ["there"]


async def test_of_a_run_that_is_over_the_last_replicas_of_its_newest_revision_are_found(
    state: State, run_id: str
) -> None:
    other = await add_run(state, "other")
    for number in range(6):
        await add_replica(state, run_id, f"r{number}", revision=1 + number // 3, created_at_s=1000.0 + number)
    await add_replica(state, other, "o1", revision=7)
    await add_replica(state, other, "left", revision=8)
    async with state.database.write() as write:
        for replica_id in (*(f"r{number}" for number in range(6)), "o1"):
            await replicas.end(write, replica_id, 2000.0)
    async with state.database.read() as connection:
        two = await replicas.last_of(connection, [run_id, other], 2)
        many = await replicas.last_of(connection, [run_id], 100)
        assert await replicas.last_of(connection, [], 2) == {}
    assert {key: [replica.id for replica in found] for key, found in two.items()} == {
        run_id: ["r4", "r5"],
        other: ["o1"],
    }
    assert [replica.id for replica in many[run_id]] == ["r3", "r4", "r5"]


async def test_a_host_hears_of_what_it_is_told_of_its_replicas_and_of_nothing_else(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    with state.database.changes.subscribe("host:h1") as told:
        async with state.database.write() as write:
            await replicas.update(write, "r1", in_rotation=True, message="serves")
        assert not await told.wait(0)
        async with state.database.write() as write:
            await replicas.update(write, "r1", wanted=Wanted.STOP, stop_grace_s=5.0)
        assert await told.wait(0)
        async with state.database.write() as write:
            await replicas.end(write, "r1", 2000.0)
        assert await told.wait(0)


async def test_those_that_wait_and_those_that_a_lost_host_has(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state, "h1")
    await add_host(state, "h2")
    for number, host_id in enumerate((None, "h1", "h2", "h2")):
        await add_replica(state, run_id, f"r{number}", index=number, host_id=host_id)
    async with state.database.write() as write:
        await replicas.update(write, "r3", lost=True)
    async with state.database.read() as connection:
        assert [it.id for it in await replicas.waiting(connection)] == ["r0"]
        assert {it.id for it in await replicas.lost_or_on(connection, ["h1"])} == {"r1", "r3"}
        assert {it.id for it in await replicas.lost_or_on(connection, [])} == {"r3"}


async def test_all_are_read_in_their_order_however_many_pieces_that_takes(
    state: State, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "PIECE", 2)
    ids = ["r3", "r1", "r5", "r2", "r4"]  # in the order in which they were made
    for number, replica_id in enumerate(ids):
        await add_replica(state, run_id, replica_id, index=number)
        async with state.database.write() as write:
            assert await replicas.claim(write, claim(replica_id, "h1" if number % 2 else "h2"))
        async with state.database.snapshot() as connection:
            found = await replicas.of_runs(connection, [run_id])
            assert [it.id for it in found[run_id]] == [it.id for it in await replicas.list_active(connection)]
            assert sorted(it.id for it in found[run_id]) == sorted(ids[: number + 1])
            assert [it.created_at_s for it in found[run_id]] == sorted(it.created_at_s for it in found[run_id])
    async with state.database.read() as connection:
        assert await replicas.count_by_host(connection) == {"h1": 2, "h2": 3}
        assert {it.id: it.index for it in (await replicas.active_and_count(connection))[0].values()} == {
            replica_id: number for number, replica_id in enumerate(ids)
        }
        assert [it.id for it in await replicas.of_run(connection, run_id)] == [it.id for it in found[run_id]]


async def test_of_each_run_there_is_what_is_left_and_what_ended_lately_however_many_pieces_that_takes(
    state: State, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "PIECE", 2)
    wanted: dict[str, list[str]] = {}
    for name in ("a", "b", "c", "d"):
        run = await add_run(state, f"run-{name}")
        for number in range(5):
            await add_replica(state, run, f"{name}{number}", index=number, created_at_s=1000.0 - number)
        async with state.database.write() as write:
            await replicas.end(write, f"{name}0", 2000.0)
            await replicas.end(write, f"{name}3", 3000.0)
        wanted[run] = [f"{name}4", f"{name}3", f"{name}2", f"{name}1"]
    async with state.database.read() as connection:
        for some in (list(wanted), list(wanted)[1:3], [list(wanted)[2]], [*wanted, "of-nobody"]):
            lately = await replicas.of_runs(connection, some, ended_since_s=2500.0)
            assert {run: [it.id for it in found] for run, found in lately.items()} == {
                run: ids for run, ids in wanted.items() if run in some
            }
            left = await replicas.of_runs(connection, some)
            assert {run: [it.id for it in found] for run, found in left.items()} == {
                run: [it for it in ids if not it.endswith("3")] for run, ids in wanted.items() if run in some
            }
        for run, ids in wanted.items():
            assert [it.id for it in await replicas.of_run(connection, run, ended_since_s=2500.0)] == ids


async def test_what_is_read_in_pieces_within_a_snapshot_is_of_one_moment(
    state: State, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "PIECE", 2)
    for number in range(4):
        await add_replica(state, run_id, f"r{number}", index=number, host_id="h1")
    async with state.database.snapshot() as connection:
        assert len(await replicas.of_runs(connection, [run_id])) == 1  # it begins with the first statement
        await observe(state, "h1", "r3", Phase.READY, host_port=1)
        (found,) = (await replicas.of_runs(connection, [run_id])).values()
        assert {it.phase for it in found} == {Phase.QUEUED}
