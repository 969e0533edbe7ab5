"""Peaks of revisions: they only grow, small steps are not written, and a host speaks only for its own replicas."""

import sqlalchemy as sa
from fixtures.control import State, add_host, add_replica, add_run, get_replica, get_run, revision, service
from homeport_control.agents.peaks import Peaks
from homeport_control.store import replicas, runs
from homeport_control.store.schema import revisions
from homeport_protos.common.v1 import host_pb2


def held(replica_id: str, mib: int) -> tuple[host_pb2.ReplicaReading, ...]:
    return (host_pb2.ReplicaReading(replica_id=replica_id, gpu_memory_peak_mib=mib),)


async def test_a_peak_grows_in_steps_that_are_worth_a_write(state: State) -> None:
    await add_host(state, "h1")
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    peaks = Peaks(state.database)
    for told, known in ((10_000, 10_000), (10_020, 10_000), (10_064, 10_064), (9_000, 10_064), (20_000, 20_000)):
        peaks.heard("h1", held("r1", told))
        await peaks.flush()
        assert (await get_run(state, run_id)).newest.gpu_memory_peak_mib == known


async def test_what_is_not_on_a_host_it_does_not_speak_for(state: State) -> None:
    await add_host(state, "h1")
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    peaks = Peaks(state.database)
    peaks.heard("h2", held("r1", 5))
    peaks.heard("h1", held("nobody", 5))
    await peaks.flush()
    assert (await get_run(state, run_id)).newest.gpu_memory_peak_mib is None


async def test_a_replica_that_goes_on_as_one_of_a_new_revision_takes_its_peak_along(state: State) -> None:
    await add_host(state, "h1")
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    async with state.database.write() as write:
        await runs.raise_peak(write, "h1", "r1", 17_000)
    for number, own, known in ((2, None, 17_000), (3, 20_000, 20_000)):
        async with state.database.write() as write:
            await runs.add_revision(write, run_id, number, revision(state, service(env=[f"A={number}"])), 1000.0)
            mine = sa.update(revisions).where(revisions.c.run_id == run_id, revisions.c.number == number)
            await write.connection.execute(mine.values(gpu_memory_peak_mib=own))
            await replicas.renumber(write, await get_replica(state, "r1"), "hello", number)
        assert (await get_run(state, run_id)).revision(number).gpu_memory_peak_mib == known, "its own is not lowered"
