"""api/kept_replicas: a message is made anew when anything that it is made of is another, and only then."""

from dataclasses import replace

from fixtures.control import FACTS, State, a_host, add_host, add_replica, add_run, get_replica, get_run
from homeport_control.agents.telemetry import Telemetry
from homeport_control.api.gpu_memory import MemoryOf
from homeport_control.api.kept_replicas import KeptReplicas
from homeport_control.domain.hosts import Gpu, Host
from homeport_control.domain.services import Run
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2

GPU = Gpu("GPU-1", "A100", 80 * 1024)
HOST = replace(a_host("h1"), facts=replace(FACTS, gpus=(GPU,)))


def read(run: Run, host: Host | None = HOST, now_mib: int | None = 4096, held_mib: int = 0) -> MemoryOf:
    telemetry = Telemetry()
    if now_mib is not None:
        reading = host_pb2.ReplicaReading(replica_id="r1", gpu_memory_mib=now_mib, gpu_memory_peak_mib=held_mib)
        telemetry.take("h1", agent_pb2.Telemetry(replicas=[reading]))
    return MemoryOf(run, {"h1": host}.get, telemetry)


async def test_what_has_not_changed_is_one_and_the_same_message(state: State) -> None:
    await add_host(state, "h1")
    run = await get_run(state, await add_run(state))
    await add_replica(state, run.id, "r1", host_id="h1")
    kept, replica = KeptReplicas(), replace(await get_replica(state, "r1"), gpu_uuids=("GPU-1",))
    first = kept.message(replica, {"h1": HOST}, read(run))
    assert kept.message(replica, {"h1": HOST}, read(run, held_mib=9000)) is first, (
        "the most that it has held comes from its revision"
    )
    assert (first.id, first.host, first.gpu_memory_mib, first.gpus) == ("r1", "h1", 4096, "A100:80GB:1")


async def test_another_replica_host_or_reading_is_another_message(state: State) -> None:
    await add_host(state, "h1")
    run = await get_run(state, await add_run(state))
    await add_replica(state, run.id, "r1", host_id="h1")
    kept, replica, there = KeptReplicas(), replace(await get_replica(state, "r1"), gpu_uuids=("GPU-1",)), {"h1": HOST}
    kept.message(replica, there, read(run))
    assert kept.message(replica, there, read(run, now_mib=5)).gpu_memory_mib == 5
    assert not kept.message(replica, there, read(run, now_mib=None)).HasField("gpu_memory_mib")
    peak = replace(run, revisions=(replace(run.newest, gpu_memory_peak_mib=7),))
    assert kept.message(replica, there, read(peak)).gpu_memory_peak_mib == 7
    assert kept.message(replica, {"h1": replace(HOST, name="h2")}, read(run)).host == "h2"
    assert kept.message(replace(replica, message="it waits"), there, read(run)).message == "it waits"
    assert kept.message(replica, {}, read(run, host=None)).gpus == ""
    assert kept.message(replica, there, read(run)).gpus == "A100:80GB:1"
