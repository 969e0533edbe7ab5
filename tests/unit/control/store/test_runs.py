"""store/runs: one active run per name, immutable revisions, secrets sealed in the file itself."""

import pytest
from fixtures.control import State, add_host, add_replica, add_run, get_run, revision, service, written
from homeport_control.domain.errors import Conflict
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.spec.env import Secrets
from homeport_control.store import replicas, runs


async def test_a_second_active_run_of_a_name_is_a_conflict_and_changes_nothing(state: State) -> None:
    first = await add_run(state)
    with pytest.raises(Conflict, match="a run hello is active already"):
        await add_run(state)
    async with state.database.read() as connection:
        assert [run.id for run in await runs.list_active(connection)] == [first]


async def test_a_name_is_free_again_when_its_run_has_ended(state: State) -> None:
    first = await add_run(state)
    async with state.database.write() as write:
        await runs.update(write, first, state=RunState.TERMINATED, ended_at_s=2000.0)
    second = await add_run(state, at_s=3000.0)
    async with state.database.read() as connection:
        active = await runs.active_by_name(connection, "hello")
        assert active is not None
        assert active.id == second
        assert await runs.name_was_used(connection, "hello")
        assert not await runs.name_was_used(connection, "other")
        assert [run.id for run in await runs.list_shown(connection, (), finished=False)] == [second]
        assert [run.id for run in await runs.list_shown(connection, (), finished=True)] == [second, first]
        assert [run.id for run in await runs.list_shown(connection, ["hello"], finished=False)] == [second]


async def test_of_two_runs_with_other_names_the_newest_of_each_is_shown(state: State) -> None:
    """Both were submitted in the same second as an older run of the other name."""
    old = await add_run(state, "aa", at_s=1000.0)
    async with state.database.write() as write:
        await runs.update(write, old, ended_at_s=1500.0)
    b = await add_run(state, "bb", at_s=1000.0)
    a = await add_run(state, "aa", at_s=2000.0)
    async with state.database.read() as connection:
        shown = await runs.list_shown(connection, ["aa", "bb"], finished=False)
    assert [run.id for run in shown] == [a, b]


async def test_a_revision_number_twice_is_a_conflict(state: State) -> None:
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(port=9000)), 2000.0)
    with pytest.raises(Conflict, match="changed by somebody else just now"):
        async with state.database.write() as write:
            await runs.add_revision(write, run_id, 2, revision(state, service(port=9001)), 2000.0)
    run = await get_run(state, run_id)
    assert [revision.number for revision in run.revisions] == [1, 2]
    assert "9000" in run.newest.spec_json


async def test_a_revision_that_was_given_up_is_not_the_current_one(state: State) -> None:
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(port=9000)), 2000.0)
        await runs.give_up_revision(write, run_id, 2, "it never answered")
    run = await get_run(state, run_id)
    assert run.current is not None
    assert (run.current.number, run.newest.failed) == (1, "it never answered")


async def test_secrets_are_not_readable_in_any_file_of_the_server(state: State) -> None:
    auth = {"username": "robot", "password": "staple-of-the-registry"}
    run_id = await add_run(state, env=["PASSWORD=correct-horse-battery"], registry_auth=auth)
    async with state.database.read() as connection:
        sealed = await runs.sealed_secrets(connection, run_id, 1)
    held = Secrets.from_json(state.sealer.open(sealed))
    assert held.env["PASSWORD"] == "correct-horse-battery"
    assert held.registry_auth is not None
    kept = await written(state)
    assert b"PASSWORD" in kept, "the name may be shown, and proves that this looks at the right files"
    for secret in (b"correct-horse-battery", b"staple-of-the-registry"):
        assert secret not in kept


async def test_an_ended_run_is_unsettled_while_a_replica_of_it_is_left(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    async with state.database.write() as write:
        await runs.update(write, run_id, wanted=RunWanted.STOP, state=RunState.TERMINATED, ended_at_s=2000.0)
    async with state.database.read() as connection:
        assert await runs.list_active(connection) == ()
        assert [run.id for run in await runs.list_unsettled(connection)] == [run_id]
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2001.0)
    async with state.database.read() as connection:
        assert await runs.list_unsettled(connection) == ()
