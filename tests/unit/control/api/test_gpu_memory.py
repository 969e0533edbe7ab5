"""api/gpu_memory: reserved, peak, now, and who is over; and that `ps` and `metrics` tell it."""

from dataclasses import replace

import pytest
from fixtures.control import State, add_replica, add_run, get_host
from fixtures.plane import Api, Plane
from homeport_control.domain.hosts import Gpu
from homeport_control.store import hosts, replicas, runs
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

GB = 1024
GPUS = (Gpu("GPU-1", "A100", 80 * GB), Gpu("GPU-2", "A100", 80 * GB))


@pytest.fixture(autouse=True)
async def gpus(state: State, plane: Plane) -> None:
    facts = replace((await get_host(state, "h1")).facts, gpus=GPUS)
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": facts})


async def serve(state: State, gpu: object, *uuids: str) -> None:
    run_id = await add_run(state, resources={"gpu": gpu} if gpu else {})
    await add_replica(state, run_id, "r0", host_id="h1")
    async with state.database.write() as write:
        await replicas.update(write, "r0", gpu_uuids=uuids)


def told(mib: int) -> agent_pb2.Telemetry:
    reading = host_pb2.ReplicaReading(replica_id="r0", gpu_memory_mib=mib, gpu_memory_peak_mib=mib)
    return agent_pb2.Telemetry(full=True, replicas=[reading])


async def listed(user: Api) -> api_pb2.Replica:
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest())).runs
    (replica,) = run.replicas
    return replica


async def test_whole_gpus_are_reserved_whole_and_never_exceeded(state: State, plane: Plane, user: Api) -> None:
    await serve(state, "24GB:2", "GPU-1", "GPU-2")
    plane.telemetry.take("h1", told(100 * GB))
    shown = await listed(user)
    assert (shown.gpu_memory_reserved_mib, shown.gpu_memory_mib, shown.over_reservation) == (160 * GB, 100 * GB, False)
    assert not shown.HasField("gpu_memory_peak_mib")


async def test_a_shared_one_reserves_what_it_asked_for_and_is_told_when_it_holds_more(
    state: State, plane: Plane, user: Api
) -> None:
    await serve(state, {"memory": "24GB", "shared": True}, "GPU-1")
    plane.telemetry.take("h1", told(24 * GB + 100))  # its context
    assert (await listed(user)).over_reservation is False
    plane.telemetry.take("h1", told(25 * GB))
    shown = await listed(user)
    assert (shown.gpu_memory_reserved_mib, shown.over_reservation) == (24 * GB, True)


async def test_the_peak_is_its_revisions_and_stays_when_the_host_is_away(state: State, plane: Plane, user: Api) -> None:
    await serve(state, {"memory": "24GB", "shared": True}, "GPU-1")
    async with state.database.write() as write:
        await runs.raise_peak(write, "h1", "r0", 17 * GB)
    plane.telemetry.take("h1", told(12 * GB))
    plane.telemetry.forget("h1")
    shown = await listed(user)
    assert (shown.gpu_memory_peak_mib, shown.HasField("gpu_memory_mib")) == (17 * GB, False)


async def test_a_replica_without_gpus_tells_nothing_of_their_memory(state: State, user: Api) -> None:
    await serve(state, None)
    shown = await listed(user)
    assert not any(shown.HasField(it) for it in ("gpu_memory_reserved_mib", "gpu_memory_peak_mib", "gpu_memory_mib"))
