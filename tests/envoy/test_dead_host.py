"""A host that is away: what the gateway sees of it by itself, with nobody to tell it."""

import asyncio
import os
import signal
import statistics
from collections.abc import AsyncIterator, Iterator

import pytest
from homeport_agent.envoy import admin, supervisor
from homeport_control.domain.gateway import Endpoint
from homeport_control.xds import clusters, paths
from rig.far import FarHost, cut_off, far_host
from rig.gateway import Client, Gateway, replicas
from rig.load import Load

pytestmark = pytest.mark.envoy

OUT_S = 2.0  # within which a dead host's endpoints leave


@pytest.fixture
async def far(gateway: Gateway) -> AsyncIterator[FarHost]:
    async with far_host(gateway) as made:
        yield made


async def until_healthy(gateway: Gateway, count: int, timeout_s: float = 20) -> float:
    """Seconds until so many endpoints are in rotation."""
    clock = asyncio.get_running_loop().time
    begin = clock()
    async with asyncio.timeout(timeout_s):
        while True:
            found = await asyncio.to_thread(admin.get, gateway.run_dir, "/stats?filter=hello.membership_healthy")
            if int(found.split(b":")[1]) == count:
                return clock() - begin
            await asyncio.sleep(0.02)


async def test_a_host_whose_packets_are_lost_is_out_within_two_seconds_and_back_when_it_is(
    gateway: Gateway, far: FarHost
) -> None:
    async with replicas("near", "away") as (near, away):
        await far.opens(away)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), far.directly(away)))
        await until_healthy(gateway, 2)
        with cut_off(away):
            assert await until_healthy(gateway, 1) < OUT_S
            async with Load(gateway, timeout_s=2) as load:
                await load.more(500)
            assert load.answers.keys() == {200}, load.answers
            assert set(load.by_replica) == {"near"}
        await until_healthy(gateway, 2)
        async with Load(gateway) as load:
            await load.more(200)
        assert load.answers.keys() == {200}, load.answers
        assert set(load.by_replica) == {"near", "away"}


@pytest.fixture
def soon_given_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    option = paths.CHECKED["upstream_bind_config"]["socket_options"][0]
    assert option["int_value"] >= 1000
    monkeypatch.setitem(option, "int_value", 1000)
    clusters._cluster.cache_clear()
    yield
    clusters._cluster.cache_clear()


@pytest.mark.usefixtures("soon_given_up")
async def test_under_load_a_dead_host_costs_no_idempotent_request(gateway: Gateway, far: FarHost) -> None:
    """Those that are under way to it are sent again when they are given up (here after 1 s): none fails."""
    async with replicas("near", "away") as (near, away):
        await far.opens(away)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), far.directly(away)))
        async with Load(gateway, clients=8, timeout_s=15) as load:
            await load.more(200)
            with cut_off(away):
                out_s = await until_healthy(gateway, 1)
                await load.more(1000)
                gone = load.by_replica["away"]
                await load.more(200)
                assert load.by_replica["away"] == gone
        assert load.answers.keys() == {200}, load.answers
        assert out_s < OUT_S


async def test_a_door_that_is_killed_costs_no_idempotent_request(gateway: Gateway, far: FarHost) -> None:
    async with replicas("near", "away") as (near, away):
        await far.opens(away)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), far.directly(away)))
        async with Load(gateway) as load:
            await load.more(200)
            for _ in range(2):
                pid = await asyncio.to_thread(supervisor.envoy_pid, far.run_dir)
                assert pid is not None
                before = load.by_replica["away"]
                os.kill(pid, signal.SIGKILL)
                async with asyncio.timeout(30):
                    while load.by_replica["away"] < before + 20:
                        await load.more(50)
        assert load.answers.keys() == {200}, load.answers


async def test_a_dead_replica_behind_a_door_that_lives_stays_out(gateway: Gateway, far: FarHost) -> None:
    """Its host passes its check all the while; that says nothing of the replica."""
    async with replicas("near", "away") as (near, away):
        await far.opens(away)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), far.directly(away)))
        async with Load(gateway) as load:
            await load.more(200)
            await away.stop()
            assert await until_healthy(gateway, 1) < OUT_S
            await load.more(300)
        assert load.answers.keys() == {200}, load.answers
        healthy = []
        clock = asyncio.get_running_loop().time
        end = clock() + 3 * paths._TICK_S
        while clock() < end:
            found = await asyncio.to_thread(admin.get, gateway.run_dir, "/stats?filter=hello.membership_healthy")
            healthy.append(int(found.split(b":")[1]))
        assert set(healthy) == {1}


async def test_what_has_just_been_published_is_in_rotation_with_its_first_check(gateway: Gateway, far: FarHost) -> None:
    """It waits for no tick: neither of a service that is new, nor of its only replica, nor while the one before it drains.

    The check is begun as it is acknowledged, and its answer is a round trip away: so long nobody may count on it.
    """
    async with replicas("one", "two") as members:
        await far.opens(*members)
        client, old, took_s = Client(gateway.port), far.directly(members[1]), []
        for number in range(20):
            new = far.directly(members[number % 2])
            await gateway.control.publish(gateway.snapshot(new if number < 10 else drained(old), new))
            took_s.append(await until_healthy(gateway, 1))
            answer = await client.request()
            assert answer.status == 200, (number, answer)
            assert answer.json()["replica"] == new.replica_id, number
            old = new
            if number >= 10:
                await gateway.control.publish(gateway.snapshot(new))
        client.close()
    assert statistics.median(took_s) < paths._TICK_S / 2


def drained(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.replica_id, endpoint.address, endpoint.port, True, endpoint.host_id)
