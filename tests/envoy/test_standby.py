"""Envoy starts while the server is away: with its last configuration from disk; and what happens when the server is back."""

import asyncio
import os
import signal
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
from homeport_agent.envoy import admin, last_keeper, last_world, supervisor
from homeport_agent.envoy.bootstrap import STANDBY_CLUSTER
from homeport_agent.envoy.last_keeper import TYPES
from homeport_agent.envoy.last_world import BEFORE, FILE
from homeport_agent.envoy.standby import LOOK_AGAIN_S
from homeport_control.domain.gateway import GatewaySnapshot, PublishedModel, ServedCertificate, TokenGrant
from homeport_control.trust import gateway_ca
from homeport_control.xds.resources import world
from homeport_control.xds.subscription import ORDER
from rig.envoys import eventually, listens, until_envoy_is_another, updates
from rig.gateway import TOKEN, Gateway, Replica, read_body, read_head, replicas, sha256
from rig.ports import free_port

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
NAME = "hello.localhost"


class Site:
    """A gateway with HTTPS, a token and a model."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.https_port = free_port()
        self.ca = gateway_ca.new_ca("local", time.time())
        self.pair = gateway_ca.issue(self.ca, NAME, time.time())

    def snapshot(self, replica: Replica, *tokens: TokenGrant) -> GatewaySnapshot:
        base = self.gateway.snapshot(replica.endpoint(), tokens=tokens or (TokenGrant(sha256(TOKEN)),))
        (hello,) = base.services
        shown = ServedCertificate(NAME, self.pair.certificate_pem.decode(), self.pair.key_pem.decode())
        return replace(
            base,
            services=(replace(hello, model=PublishedModel("llama"), secure=True),),
            https_port=self.https_port,
            certificates=(shown,),
        )

    async def answers(self) -> list[int]:
        """A service with a token, with a wrong one, a model by its name, and HTTPS."""
        client = self.gateway.client
        client.close()
        body = b'{"model": "llama"}'
        return [
            (await client.request()).status,
            (await client.request(token="hp_wrong")).status,
            (await client.request("gateway.localhost", CHAT, method="POST", body=body)).status,
            await self._https(),
        ]

    async def _https(self) -> int:
        context = ssl.create_default_context(cadata=self.ca.certificate_pem.decode())
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.https_port, ssl=context, server_hostname=NAME
            )
            writer.write(f"GET / HTTP/1.1\r\nhost: {NAME}\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
            _, status, headers = await read_head(reader)
            await read_body(reader, headers)
            writer.close()
        return int(status)


GOOD = [200, 403, 200, 200]


async def kept(gateway: Gateway, snapshot: GatewaySnapshot) -> None:
    """Until it lies on disk."""
    wanted = world(snapshot, 1).resources

    def is_kept() -> bool:
        held, _ = last_world.read(gateway.run_dir)
        return all(
            {name: it.version for name, it in of.items()}
            == {name: it.version for name, it in held.of(type_url).items()}
            for type_url, of in wanted.items()
        )

    await eventually(is_kept)


async def crash(gateway: Gateway) -> None:
    """Envoy dies; its supervisor starts another one, which opens its port when it has a configuration."""
    pid = supervisor.envoy_pid(gateway.run_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until_envoy_is_another(gateway, pid)


def is_at_the_standby(gateway: Gateway) -> bool:
    stat = f"cluster.{STANDBY_CLUSTER}.upstream_rq_active"
    return admin.get(gateway.run_dir, f"/stats?filter={stat}").decode().strip() == f"{stat}: 1"


def spoil(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-7] + b"spoiled")


async def reboot(gateway: Gateway) -> None:
    """The gateway's machine: everything of it but its disk."""
    await gateway.stop_agent()
    pid = supervisor.envoy_pid(gateway.run_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()


def test_every_type_that_the_server_has_is_kept() -> None:
    assert set(TYPES) == set(ORDER)


async def test_a_killed_envoy_serves_on_while_the_server_is_away_and_takes_changes_when_it_is_back(
    gateway: Gateway,
) -> None:
    site = Site(gateway)
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(site.snapshot(a))
        assert await site.answers() == GOOD
        await kept(gateway, site.snapshot(a))
        await gateway.control.stop()

        await crash(gateway)
        await eventually(lambda: listens(gateway))
        assert await site.answers() == GOOD

        # The same that it had: nothing is sent, nothing changes.
        before = await updates(gateway, listeners=2)
        failed = asyncio.Event()
        asking = asyncio.create_task(ask(gateway, failed))
        await gateway.control.start()
        await gateway.control.publish(site.snapshot(a))
        assert await updates(gateway, listeners=2) == before
        # And what changes is taken.
        other = TokenGrant(sha256("hp_other"))
        await gateway.control.publish(site.snapshot(b, TokenGrant(sha256(TOKEN)), other))
        assert (await gateway.client.request(token="hp_other")).json()["replica"] == "b"
        asking.cancel()
        assert not failed.is_set()


async def ask(gateway: Gateway, failed: asyncio.Event) -> None:
    """Requests all the time."""
    client = type(gateway.client)(gateway.port)
    while True:
        try:
            if (await client.request()).status != 200:
                failed.set()
        except (OSError, EOFError):
            failed.set()


async def test_a_gateway_whose_machine_starts_again_serves_without_the_server(gateway: Gateway) -> None:
    site = Site(gateway)
    async with replicas("a") as (a,):
        await gateway.control.publish(site.snapshot(a))
        await kept(gateway, site.snapshot(a))
        await gateway.control.stop()
        await reboot(gateway)
        await eventually(lambda: listens(gateway))
        assert await site.answers() == GOOD
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and o.running)

        await gateway.control.start()
        await gateway.control.publish(site.snapshot(a))
        assert await site.answers() == GOOD


async def test_what_went_while_it_ran_by_its_last_configuration_is_taken_away(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        hello = gateway.snapshot(a.endpoint())
        (service,) = hello.services
        other = replace(service, name="other", domains=("other.localhost",), endpoints=(b.endpoint(),))
        both = replace(hello, services=(service, other))
        await gateway.control.publish(both)
        await kept(gateway, both)
        await gateway.control.stop()
        await crash(gateway)
        await eventually(lambda: listens(gateway))
        gateway.client.close()
        assert (await gateway.client.request("other.localhost")).status == 200

        await gateway.control.start()
        await gateway.control.publish(hello)
        assert (await gateway.client.request("other.localhost")).status == 404
        assert (await gateway.client.request()).status == 200
        assert (await updates(gateway))["cluster_manager.cluster_removed"] == "1"
        await kept(gateway, hello)


async def test_a_damaged_file_is_left_alone_with_a_reason_and_the_one_before_is_used(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await kept(gateway, gateway.snapshot(a.endpoint()))
        second = gateway.snapshot(a.endpoint(), b.endpoint())
        await gateway.control.publish(second)
        await kept(gateway, second)
        await gateway.control.stop()
        await gateway.stop_agent()
        spoil(gateway.run_dir / FILE)
        await gateway.start_agent()
        await crash(gateway)
        await eventually(lambda: listens(gateway))
        gateway.client.close()
        assert (await gateway.client.request()).json()["replica"] == "a"
        assert f"{gateway.run_dir / FILE} is damaged: its content does not fit its checksum" in caplog.text

        # What the server says then is written without losing the good one before it.
        await gateway.control.start()
        await gateway.control.publish(second)
        await kept(gateway, second)


async def test_with_nothing_whole_on_disk_it_waits_for_the_server(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await kept(gateway, gateway.snapshot(a.endpoint()))
        await gateway.control.stop()
        spoil(gateway.run_dir / FILE)
        (gateway.run_dir / BEFORE).unlink(missing_ok=True)
        await gateway.stop_agent()
        await gateway.start_agent()
        await crash(gateway)
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and "waits for" in o.message)
        assert not listens(gateway)
        await gateway.control.start()
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert (await gateway.client.request()).status == 200


async def test_an_envoy_that_runs_is_never_led_back_by_an_older_file(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await kept(gateway, gateway.snapshot(a.endpoint()))
        monkeypatch.setattr(last_keeper, "WRITE_S", 600)
        await gateway.control.publish(gateway.snapshot(b.endpoint()))
        await gateway.control.publish(gateway.snapshot(b.endpoint(), tokens=()))
        connections = gateway.control.connections
        await gateway.control.stop()
        await gateway.stop_agent()
        await gateway.start_agent()  # an agent that knows the older file only
        await eventually(lambda: is_at_the_standby(gateway))
        assert (await gateway.client.request()).status == 403
        await gateway.control.start()
        await gateway.control.until(lambda: gateway.control.connections > connections)
        assert (await gateway.client.request()).status == 403


async def test_an_envoy_that_waits_at_the_standby_is_back_at_the_server_within_seconds(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await kept(gateway, gateway.snapshot(a.endpoint()))
        for replica in (b, a):
            connections = gateway.control.connections
            await gateway.control.stop()
            await eventually(lambda: is_at_the_standby(gateway))
            await gateway.control.start()
            # Sooner than the stream at the standby ends by itself.
            await gateway.control.until(lambda n=connections: gateway.control.connections > n, LOOK_AGAIN_S - 1)
            await gateway.control.publish(gateway.snapshot(replica.endpoint()))
            assert (await gateway.client.request()).json()["replica"] == replica.name


async def test_its_files_are_for_their_owner_only(gateway: Gateway) -> None:
    site = Site(gateway)
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(site.snapshot(a))
        await kept(gateway, site.snapshot(a))
        await gateway.control.publish(site.snapshot(b))
        await kept(gateway, site.snapshot(b))
    for name in (FILE, BEFORE):
        assert os.stat(gateway.run_dir / name).st_mode & 0o077 == 0


async def test_what_envoy_refused_is_not_kept(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        good = gateway.snapshot(a.endpoint())
        await gateway.control.publish(good)
        bad = replace(a.endpoint(), address="not-an-address")
        version = gateway.control.xds.publish(gateway.snapshot(bad))
        assert not await gateway.control.xds.wait_acked("local", version, 20)
        await kept(gateway, good)
