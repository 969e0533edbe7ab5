"""The door of a host and the direct way to it: two real Envoys, mutual TLS between them, over two addresses of loopback."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.door import Door, door_dir
from homeport_agent.model import DoorObserved, DoorWish
from homeport_control.domain.gateway import Endpoint
from rig.gateway import HOST, TOKEN, Client, Gateway, Replica, replicas

pytestmark = pytest.mark.envoy

FAR = "far-host"
ADDRESS = "127.0.0.2"  # the far host's, in place of one that others reach it by
DEADLINE_S = 20.0


class FarHost:
    """A host with replicas on loopback and a door."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.folder = folder
        self.identity: Identity = gateway.authority.write_identity(FAR, folder)
        self.ports: tuple[int, ...] = ()
        self.changed = asyncio.Event()
        self.door = Door(
            folder, lambda: self.identity, lambda: ADDRESS, lambda: self.ports, self.changed.set, asyncio.Lock()
        )

    async def opens(self, *behind: Replica) -> None:
        self.ports = tuple(sorted(it.port for it in behind))
        self.door.look_again()
        await self.until(DoorObserved(ADDRESS, self.ports))

    async def until(self, wanted: DoorObserved | None) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.door.observed() != wanted:
                await self.changed.wait()
                self.changed.clear()


@pytest.fixture
async def far(gateway: Gateway, tmp_path: Path) -> AsyncIterator[FarHost]:
    folder = Path(gateway.folder) / "far"
    folder.mkdir()
    made = FarHost(gateway, folder)
    task = asyncio.create_task(made.door.run())
    made.door.apply(DoorWish((HOST,)))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.to_thread(supervisor.stop, door_dir(folder))


def through(replica: Replica, host_id: str = FAR) -> Endpoint:
    return Endpoint(replica.name, ADDRESS, replica.port, host_id=host_id)


async def test_near_and_far_replicas_serve_together(gateway: Gateway, far: FarHost) -> None:
    async with replicas("near", "far") as (near, behind):
        await far.opens(behind)
        await gateway.control.publish(gateway.snapshot(near.endpoint(), through(behind)))
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
        await gateway.control.publish(gateway.snapshot(through(one)))
        client = Client(gateway.port)
        reader = await client.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        assert b"first" in await reader.readuntil(b"first")
        far.identity = gateway.authority.write_identity(FAR, far.folder)
        await far.opens(one, two)
        await gateway.control.publish(gateway.snapshot(through(one), through(two)))
        one.release.set()
        assert b"last" in await asyncio.wait_for(reader.readuntil(b"last"), DEADLINE_S)
        client.close()


async def test_a_host_that_shows_another_hosts_certificate_gets_no_request(gateway: Gateway, far: FarHost) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        await gateway.control.publish(gateway.snapshot(through(behind, "another-host")))
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
        await gateway.control.publish(gateway.snapshot(through(behind)))
        pid = await asyncio.to_thread(supervisor.envoy_pid, door_dir(far.folder))
        assert pid is not None
        client = Client(gateway.port)
        assert (await client.request()).status == 200
        os.kill(pid, signal.SIGKILL)
        statuses = []
        async with asyncio.timeout(DEADLINE_S):
            while not statuses or statuses[-1] != 200:
                statuses.append((await client.request()).status)
        client.close()
        again = Door(
            far.folder, lambda: far.identity, lambda: ADDRESS, lambda: far.ports, far.changed.set, asyncio.Lock()
        )
        before = await asyncio.to_thread(supervisor.envoy_pid, door_dir(far.folder))
        task = asyncio.create_task(again.run())
        again.apply(DoorWish((HOST,)))
        async with asyncio.timeout(DEADLINE_S):
            while again.observed() != DoorObserved(ADDRESS, far.ports):
                await far.changed.wait()
                far.changed.clear()
        assert await asyncio.to_thread(supervisor.envoy_pid, door_dir(far.folder)) == before, "adopted as it is"
        task.cancel()


async def test_without_gateways_elsewhere_there_is_no_door(gateway: Gateway, far: FarHost) -> None:
    async with replicas("far") as (behind,):
        await far.opens(behind)
        far.door.apply(None)
        await far.until(None)
        assert supervisor.find(door_dir(far.folder)) is None
