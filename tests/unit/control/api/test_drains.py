"""api/drains: a host or its GPUs out and back, by the beginning of a UUID, by an admin."""

from dataclasses import replace

import grpc
import pytest
from fixtures.control import State, add_replica, add_run, claim, get_host
from fixtures.plane import Api, Plane, refusal
from homeport_control.domain.hosts import Finding, Gpu, Health
from homeport_control.store import hosts, replicas
from homeport_protos.api.v1 import api_pb2

ONE, TWO = "GPU-aaaa1", "GPU-aabb2"


@pytest.fixture(autouse=True)
async def gpus(state: State, plane: Plane) -> None:
    facts = replace((await get_host(state, "h1")).facts, gpus=(Gpu(ONE, "A100", 81920), Gpu(TWO, "A100", 81920)))
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": facts})


def request(*gpus: str, host: str = "h1") -> api_pb2.DrainRequest:
    return api_pb2.DrainRequest(host=host, gpu_uuids=gpus)


async def test_a_drained_host_gets_nothing_new_until_it_is_given_back(state: State, admin: Api) -> None:
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    with state.database.changes.subscribe("health") as woken:
        assert (await admin("Drain", request())).sentence == "host h1 is drained: 1 replica moves"
        assert await woken.wait(0)
    assert (await get_host(state, "h1")).cordoned
    assert (await admin("Undrain", request())).sentence == "host h1 is not drained"
    assert not (await get_host(state, "h1")).cordoned


async def test_a_gpu_is_named_by_the_beginning_of_its_uuid(state: State, admin: Api) -> None:
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1")
    async with state.database.write() as write:
        assert await replicas.claim(write, replace(claim("r1", "h1"), gpu_uuids=(TWO,)))
    assert (await admin("Drain", request("aaa"))).sentence == f"GPU {ONE} of h1 is drained: nothing runs there"
    assert (await admin("Drain", request("GPU-aab"))).sentence == f"GPU {TWO} of h1 is drained: 1 replica moves"
    host = await get_host(state, "h1")
    assert (host.cordoned, host.cordoned_gpus) == (False, (ONE, TWO))
    assert host.barred_gpu(ONE) == "is drained"
    await admin("Undrain", request(ONE))
    assert (await get_host(state, "h1")).cordoned_gpus == (TWO,)
    await admin("Undrain", request())
    assert (await get_host(state, "h1")).cordoned_gpus == (), "a host that is given back is given back whole"


@pytest.mark.parametrize("beginning", ["aa", "zz", ""])
async def test_a_beginning_that_is_not_one_gpus_is_refused(state: State, admin: Api, beginning: str) -> None:
    code, words = await refusal(admin("Drain", request(beginning)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "homeport fleet get h1" in words
    assert (await get_host(state, "h1")).cordoned_gpus == ()


async def test_only_an_admin_drains_and_only_a_host_that_is_there(user: Api, admin: Api) -> None:
    for method in ("Drain", "Undrain"):
        assert (await refusal(user(method, request())))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await refusal(admin(method, request(host="nobody"))))[0] is grpc.StatusCode.NOT_FOUND


async def test_what_was_found_is_looked_at_anew_by_the_host_itself(state: State, plane: Plane, admin: Api) -> None:
    agent = await plane.joined("box")
    await agent.connect()
    await agent.hear_assignment()
    async with state.database.write() as write:
        await hosts.update(write, agent.host_id, {"findings": (Finding("xid-79", Health.FAILING, "it fell off"),)})
    said = (await admin("Undrain", request(host="box"))).sentence
    assert said == "host box is not drained; what was found (xid-79) is looked at anew"
    message = await agent.hear()
    assert message.WhichOneof("message") == "clear_findings"
    await agent.close()


async def test_a_host_that_is_away_keeps_what_was_found_and_the_admin_is_told(state: State, admin: Api) -> None:
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"findings": (Finding("xid-79", Health.FAILING, "it fell off", gpu_uuid=ONE),)})
    said = (await admin("Undrain", request(ONE))).sentence
    assert said.endswith("what was found (xid-79) stays: the host is not connected, run this again when it is")
