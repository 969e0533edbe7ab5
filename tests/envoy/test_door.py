"""The door of a host and the direct way to it: two real Envoys, mutual TLS between them, over two addresses of loopback."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.model import DoorObserved, DoorWish
from rig.far import ADDRESS, DEADLINE_S, FarHost, far_host
from rig.gateway import HOST, TOKEN, Client, Gateway, replicas

pytestmark = pytest.mark.envoy


@pytest.fixture
async def far(gateway: Gateway) -> AsyncIterator[FarHost]:
    async with far_host(gateway) as made:
        yield made


async def test_near_and_far_replicas_serve_together(gateway: Gateway, far: FarHost) -> None:
    async with replicas("near", "far") as (near, behind):
        await far.opens(behind)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), far.directly(behind)))
        client, seen = Client(gateway.port), set()
        async with asyncio.timeout(DEADLINE_S):
            while seen != {"near", "far"}:
                response = await client.request()
                assert response.status == 200
                seen.add(response.json()["replica"])
        client.close()


async def test_a_stream_goes_on_while_other_ports_open_and_the_certificate_is_renewed(
    gateway: Gateway, far: FarHost
) -> None:
    async with replicas("one", "two") as (one, two):
        await far.opens(one)
        await gateway.control.publish(gateway.snapshot(far.directly(one)))
        client = Client(gateway.port)
        reader = await client.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        assert b"first" in await reader.readuntil(b"first")
        far.identity = gateway.authority.write_identity(far.host_id, far.folder)
        await far.opens(one, two)
        await gateway.control.publish(gateway.snapshot(far.directly(one), far.directly(two)))
        one.release.set()
        assert b"last" in await asyncio.wait_for(reader.readuntil(b"last"), DEADLINE_S)
        client.close()


async def test_a_host_that_shows_another_hosts_certificate_gets_no_request(gateway: Gateway, far: FarHost) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        await gateway.control.publish(gateway.snapshot(replace(far.directly(behind), host_id="another-host")))
        client = Client(gateway.port)
        assert (await client.request()).status == 503
        assert behind.served == 0
        client.close()


async def test_nobody_but_a_gateways_host_comes_in(gateway: Gateway, far: FarHost, tmp_path: Path) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        stranger = gateway.authority.write_identity("a-host", tmp_path)
        for identity in (None, stranger):
            context = ssl.create_default_context(cafile=str(far.identity.ca))
            context.check_hostname = False
            if identity is not None:
                context.load_cert_chain(identity.certificate, identity.key)
            assert await answer(behind.port, context) == b""
        assert await answer(behind.port, None) == b"", "nor without TLS"
        assert behind.served == 0


async def answer(port: int, context: ssl.SSLContext | None) -> bytes:
    """What a request at the door gets."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(ADDRESS, port, ssl=context)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            found = await reader.read()
            writer.close()
            return found
    except OSError:
        return b""


async def test_its_envoy_is_back_after_a_kill_and_goes_on_without_an_agent(gateway: Gateway, far: FarHost) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        await gateway.control.publish(gateway.snapshot(far.directly(behind)))
        pid = await asyncio.to_thread(supervisor.envoy_pid, far.run_dir)
        assert pid is not None
        client = Client(gateway.port)
        assert (await client.request()).status == 200
        os.kill(pid, signal.SIGKILL)
        statuses = []
        async with asyncio.timeout(DEADLINE_S):
            while not statuses or statuses[-1] != 200:
                statuses.append((await client.request()).status)
        client.close()
        again = far.another_agent()
        before = await asyncio.to_thread(supervisor.envoy_pid, far.run_dir)
        task = asyncio.create_task(again.run())
        again.apply(DoorWish((HOST,)))
        async with asyncio.timeout(DEADLINE_S):
            while again.observed() != DoorObserved(ADDRESS, far.ports):
                await far.changed.wait()
                far.changed.clear()
        assert await asyncio.to_thread(supervisor.envoy_pid, far.run_dir) == before, "adopted as it is"
        task.cancel()


async def test_without_gateways_elsewhere_there_is_no_door(gateway: Gateway, far: FarHost) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        far.door.apply(None)
        await far.until(None)
        assert supervisor.find(far.run_dir) is None
