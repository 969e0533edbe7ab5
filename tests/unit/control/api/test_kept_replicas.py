"""api/kept_replicas: a message is made anew when anything that it is made of is another, and only then."""

from dataclasses import replace

from fixtures.control import FACTS, State, a_host, add_host, add_replica, add_run, get_replica
from homeport_control.api.gpu_memory import GpuMemory
from homeport_control.api.kept_replicas import KeptReplicas
from homeport_control.domain.hosts import Gpu

MEMORY = GpuMemory(reserved_mib=8192, peak_mib=None, now_mib=4096, is_over=False)


async def test_what_has_not_changed_is_one_and_the_same_message(state: State) -> None:
    await add_host(state, "h1")
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    kept, replica = KeptReplicas(), await get_replica(state, "r1")
    there = {"h1": a_host("h1")}
    first = kept.message(replica, there, MEMORY)
    assert kept.message(replica, there, replace(MEMORY)) is first
    assert (first.id, first.host, first.gpu_memory_mib) == ("r1", "h1", 4096)


async def test_another_replica_host_or_reading_is_another_message(state: State) -> None:
    await add_host(state, "h1")
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    kept, replica = KeptReplicas(), replace(await get_replica(state, "r1"), gpu_uuids=("GPU-1",))
    host = replace(a_host("h1"), facts=replace(FACTS, gpus=(Gpu("GPU-1", "A100", 80 * 1024),)))
    kept.message(replica, {"h1": host}, MEMORY)
    assert kept.message(replica, {"h1": host}, replace(MEMORY, now_mib=5)).gpu_memory_mib == 5
    assert kept.message(replica, {"h1": replace(host, name="h2")}, MEMORY).host == "h2"
    assert kept.message(replace(replica, message="it waits"), {"h1": host}, MEMORY).message == "it waits"
    assert kept.message(replica, {}, None).gpus == ""
    assert kept.message(replica, {"h1": host}, MEMORY).gpus == "A100:80GB:1"
