"""api/hosts: which hosts are shown, with what, and when a watcher is told again."""

from dataclasses import replace

import grpc
import pytest
from fixtures.control import State, add_host, add_replica, add_run, claim, get_host
from fixtures.plane import Api, Plane, first, refusal
from homeport_control.domain.hosts import Finding, Gpu, Health
from homeport_control.store import hosts, replicas
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2


def asked(*names: str, telemetry: bool = False) -> api_pb2.ListHostsRequest:
    return api_pb2.ListHostsRequest(names=names, telemetry=telemetry)


@pytest.fixture(autouse=True)
async def gpu(state: State, plane: Plane) -> None:
    facts = replace((await get_host(state, "h1")).facts, gpus=(Gpu("GPU-1", "A100", 81920),))
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": facts})


def reading(mib: int) -> agent_pb2.Telemetry:
    gpus = [host_pb2.GpuReading(uuid=uuid, memory_used_mib=mib) for uuid in ("GPU-1", "GPU-unknown")]
    return agent_pb2.Telemetry(full=True, gpus=gpus, host=host_pb2.HostReading(cpu=0.5))


async def test_hosts_are_picked_by_name_and_a_wrong_name_is_told(state: State, user: Api) -> None:
    await add_host(state, "h2")
    assert [it.name for it in (await user("ListHosts", asked())).hosts] == ["h1", "h2"]
    assert [it.name for it in (await user("ListHosts", asked("h2"))).hosts] == ["h2"]
    code, words = await refusal(user("ListHosts", asked("h3")))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no host h3; `homeport fleet list` shows all")


async def test_readings_are_there_when_asked_for_and_while_the_host_is_connected(plane: Plane, user: Api) -> None:
    plane.telemetry.take("h1", reading(5))
    assert not (await user("ListHosts", asked())).hosts[0].gpu_readings
    (host,) = (await user("ListHosts", asked("h1", telemetry=True))).hosts
    assert ([it.uuid for it in host.gpu_readings], host.reading.cpu) == (["GPU-1"], 0.5)
    plane.telemetry.forget("h1")
    assert not (await user("ListHosts", asked("h1", telemetry=True))).hosts[0].HasField("reading")


async def test_what_is_wrong_and_who_holds_what_is_told(state: State, user: Api) -> None:
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1")
    shared = replace(claim("r1", "h1"), gpu_uuids=("GPU-1",), exclusive=False, gpu_memory_mib=24576, run_name="hello")
    found = (
        Finding("ecc-uncorrected", Health.WARNING, "some", gpu_uuid="GPU-1"),
        Finding("xid-79", Health.FAILING, "it fell off", gpu_uuid="GPU-1"),
    )
    async with state.database.write() as write:
        assert await replicas.claim(write, shared)
        await hosts.update(write, "h1", {"findings": found, "cordoned_gpus": ("GPU-1",)})
    (host,) = (await user("ListHosts", asked("h1"))).hosts
    assert (host.health, [it.code for it in host.findings]) == ("failing", ["xid-79", "ecc-uncorrected"])
    (use,) = host.gpus
    assert (use.health, use.cordoned, use.reserved_mib) == ("failing", True, 24576)
    assert list(use.holders) == ["hello/0 (24GB shared)"]


async def test_a_watch_tells_at_once_and_when_there_are_other_readings(plane: Plane, user: Api) -> None:
    stream = user.stream("WatchHosts", asked("h1", telemetry=True))
    assert not (await first(stream)).hosts[0].HasField("reading")
    plane.telemetry.take("h1", reading(7))
    assert (await first(stream)).hosts[0].gpu_readings[0].memory_used_mib == 7
    stream.cancel()
