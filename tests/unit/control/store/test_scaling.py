"""store/scaling: all that scaling looks at, in two queries, counted as it is."""

from fixtures.control import State, add_host, add_replica, add_run, observe, revision, service
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.domain.scaling import Alike, ScaledRun
from homeport_control.domain.services import RunWanted
from homeport_control.spec.service import spec_from_json
from homeport_control.store import replicas, runs, scaling


async def test_runs_that_are_wanted_with_their_replicas_counted_by_what_they_have_in_common(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state, "web")
    for index in range(2):
        await add_replica(state, run_id, f"r{index}", index=index, host_id="h1")
        await observe(state, "h1", f"r{index}", Phase.READY, host_port=40000)
    await add_replica(state, run_id, "w", index=2, message="0 of 1 host fit: 1 is full")
    await add_replica(state, run_id, "d", index=3, host_id="h1", wanted=Wanted.DRAIN)
    await add_replica(state, run_id, "e", index=4)
    stopped, ended = await add_run(state, "stopped"), await add_run(state, "ended")
    async with state.database.write() as write:
        await replicas.end(write, "e", 5.0)
        await replicas.update(write, "r0", in_rotation=True)
        await replicas.update(write, "r1", in_rotation=True)
        await runs.update(write, run_id, scaled_to=3, cause_id="c1")
        await runs.update(write, stopped, wanted=RunWanted.STOP)
        await runs.update(write, ended, ended_at_s=5.0)
    async with state.database.read() as connection:
        found = await scaling.list_wanted(connection)
        assert found == await scaling.list_wanted(connection, [run_id])
        assert await scaling.list_wanted(connection, [stopped]) == ()
    serving = Alike(1, Phase.READY, in_rotation=True, lost=False, has_host=True, was_ready=True, number=2)
    waiting = Alike(
        1, Phase.QUEUED, in_rotation=False, lost=False, has_host=False, was_ready=False, number=1,
        message="0 of 1 host fit: 1 is full",
    )  # fmt: skip
    (run,) = found
    assert run == ScaledRun(run_id, "web", 1, 3, None, "c1", run.replicas)
    assert set(run.replicas) == {serving, waiting}


async def test_the_revision_is_the_newest_that_was_not_given_up(state: State) -> None:
    run_id = await add_run(state, "web", replicas=2)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service("web", replicas=5)), 2000.0)
    async with state.database.read() as connection:
        (run,) = await scaling.list_wanted(connection)
        texts = await scaling.specs(connection, [(run_id, 2)])
    assert run.revision == 2
    assert {which: spec_from_json(text).replicas.min for which, text in texts.items()} == {(run_id, 2): 5}
    async with state.database.write() as write:
        await runs.give_up_revision(write, run_id, 2, "broken")
    async with state.database.read() as connection:
        assert [run.revision for run in await scaling.list_wanted(connection)] == [1]
    async with state.database.write() as write:
        await runs.give_up_revision(write, run_id, 1, "broken too")
    async with state.database.read() as connection:
        assert await scaling.list_wanted(connection) == ()
