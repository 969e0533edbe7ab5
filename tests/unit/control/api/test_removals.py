"""api/removals: a host leaves for good, only where nothing is lost or somebody says so."""

import time

import grpc
from fixtures.control import State, add_host, add_replica, add_run, claim, get_replica, until_true
from fixtures.plane import Api, Plane, refusal
from homeport_control.store import events, hosts, replicas, reservations, volumes
from homeport_protos.api.v1 import api_pb2


def request(host: str = "h1", *, force: bool = False) -> api_pb2.DeleteHostRequest:
    return api_pb2.DeleteHostRequest(host=host, force=force)


async def names(user: Api) -> list[str]:
    return [host.name for host in (await user("ListHosts", api_pb2.ListHostsRequest())).hosts]


async def test_an_empty_host_is_removed_and_remembered(state: State, admin: Api, user: Api) -> None:
    await add_host(state, "h2")
    with state.database.changes.subscribe("hosts") as woken:
        answer = await admin("DeleteHost", request("h2"))
        assert await woken.wait(0)
    assert answer.sentence == "host h2 is removed; it cleans itself now"
    assert await names(user) == ["h1"]
    async with state.database.read() as connection:
        assert await hosts.was_removed(connection, "h2")
        assert not await hosts.was_removed(connection, "h1")
        (told,) = [
            it.sentence for it in await events.newest(connection, events.Filter(), 10) if "removed" in it.sentence
        ]
    assert told == "host h2 was removed from the fleet local"
    code, words = await refusal(admin("DeleteHost", request("h2")))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no host h2; `homeport fleet list` shows all")


async def test_what_would_be_lost_is_named_with_numbers_and_stays(state: State, admin: Api, user: Api) -> None:
    await add_host(state, "h2", gateway="local")
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h2")
    async with state.database.write() as write:
        await volumes.settle(write, ["models", "data"], "h2", time.time())
    code, words = await refusal(admin("DeleteHost", request("h2")))
    assert code is grpc.StatusCode.ABORTED
    assert words == (
        "host h2 cannot be removed: 1 replica is there; it has the data of the volumes data, models; it is the host of the "
        "gateway local, without which its services are not reached; --force removes it all the same"
    )
    assert await names(user) == ["h1", "h2"]


async def test_forced_its_replicas_end_their_claims_are_free_and_its_volumes_are_nowhere(
    state: State, admin: Api, user: Api
) -> None:
    await add_host(state, "h2", connected=False)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1")
    async with state.database.write() as write:
        assert await replicas.claim(write, claim("r1", "h2"))
        await volumes.settle(write, ["data"], "h2", time.time())
    answer = await admin("DeleteHost", request("h2", force=True))
    assert answer.sentence == (
        "host h2 is removed; 1 replica of it given up, to be made elsewhere; the data of the volumes data stays on its "
        "disk, and nobody looks for it there; it cleans itself when it comes back"
    )
    gone = await get_replica(state, "r1")
    assert (gone.lost, gone.ended_at_s is not None, gone.message) == (True, True, "its host h2 was removed")
    async with state.database.read() as connection:
        assert await reservations.list_all(connection) == ()
        assert await volumes.homes(connection) == {}


async def test_only_an_admin_removes(user: Api) -> None:
    code, _ = await refusal(user("DeleteHost", request()))
    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_its_agent_is_told_at_once_and_again_when_it_comes_back(plane: Plane, admin: Api) -> None:
    agent = await plane.joined("box")
    await agent.connect()
    await agent.hear_assignment()
    await admin("DeleteHost", request(agent.host_id, force=True))
    await until_true(lambda: not plane.sessions.is_connected(agent.host_id))
    for _ in range(2):
        assert await agent.first_words() == "removed"
