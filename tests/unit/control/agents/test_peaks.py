"""Peaks of revisions: they only grow, small steps are not written, and a host speaks only for its own replicas."""

from fixtures.control import State, add_host, add_replica, add_run, get_run
from homeport_control.agents.peaks import Peaks
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
