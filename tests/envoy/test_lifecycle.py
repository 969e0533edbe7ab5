"""What ends and comes back: the control plane, Envoy itself, the agent; and what is refused."""

import asyncio
import os
import signal
import socket
from dataclasses import replace

import psutil
import pytest
from homeport_agent.envoy import admin, install, supervisor
from homeport_agent.envoy.__main__ import main
from homeport_control.domain.gateway import Endpoint
from rig.envoys import eventually, listens, until_envoy_is_another, updates
from rig.gateway import HOST, Gateway, replicas
from rig.load import Load

pytestmark = pytest.mark.envoy


def running(gateway: Gateway) -> tuple[int | None, int | None]:
    return supervisor.find(gateway.run_dir), supervisor.envoy_pid(gateway.run_dir)


async def test_the_control_plane_may_go_and_come_back_without_a_flap(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        wanted = gateway.snapshot(a.endpoint())
        await gateway.control.publish(wanted)
        before = await updates(gateway)
        await gateway.control.stop()
        assert (await gateway.client.request()).status == 200

        await gateway.control.start()
        await gateway.control.until(lambda: gateway.control.connections == 2)
        # Connected, and nothing published yet: an empty world must not be served.
        assert (await gateway.client.request()).status == 200
        await gateway.control.publish(wanted)
        assert await updates(gateway) == before
        assert (await gateway.client.request()).status == 200


async def test_what_changed_while_the_control_plane_was_away_is_caught_up(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await gateway.control.stop()
        await gateway.control.start()
        await gateway.control.publish(gateway.snapshot(b.endpoint()))
        assert (await gateway.client.request()).json()["replica"] == "b"


async def test_a_snapshot_that_envoy_refuses_leaves_the_last_good_one_serving(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        bad = gateway.snapshot(Endpoint("x", "not-an-address", 1))
        version = gateway.control.xds.publish(bad)
        assert not await gateway.control.xds.wait_acked("local", version, 20)
        assert [v for v, _ in gateway.control.nacked] == [version]
        assert gateway.control.nacked[0][1].startswith("the endpoints of hello: malformed IP address: not-an-address")
        assert (await gateway.client.request()).json()["replica"] == "a"
        assert gateway.control.xds.publish(bad) == version  # the same again is not tried again

    async with replicas("b") as (b,):
        await gateway.control.publish(gateway.snapshot(b.endpoint()))
        assert (await gateway.client.request()).json()["replica"] == "b"


async def test_a_killed_envoy_is_started_again_and_serves(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        parent, first = running(gateway)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until_envoy_is_another(gateway, first)
        await gateway.control.until(lambda: gateway.control.connections == 2)
        await eventually(lambda: listens(gateway))
        gateway.client.close()
        assert (await gateway.client.request()).status == 200
        assert running(gateway)[0] == parent


async def test_an_envoy_killed_under_load_is_back_in_a_moment_with_what_it_had(gateway: Gateway) -> None:
    """Callers that connect again see connections that break or are refused, for a moment, and never another answer."""
    clock = asyncio.get_running_loop().time
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint()))
        async with Load(gateway, clients=8) as load:
            await load.more(200)
            served = load.answers[200]
            killed = clock()
            os.kill(running(gateway)[1] or 0, signal.SIGKILL)
            while load.answers[200] <= served + 8:  # those were on their way
                await load.more(1)
            away_s = clock() - killed
            await load.more(500)
            failures = {what: count for what, count in load.answers.items() if what != 200}
            await load.more(500)
        assert all(isinstance(what, str) for what in failures), "no answer but a good one"
        assert failures == {what: count for what, count in load.answers.items() if what != 200}, "none after that"
        assert away_s < 2


async def test_an_agent_that_comes_back_adopts_the_envoy_that_runs(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        before = running(gateway)
        await gateway.stop_agent()
        assert (await gateway.client.request()).status == 200
        await gateway.start_agent()
        await gateway.until_seen(lambda: gateway.host.observed() is not None)
        assert gateway.host.observed().running  # type: ignore[union-attr]
        assert running(gateway) == before
        assert gateway.control.connections == 1


async def test_a_withdrawn_role_stops_envoy(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and o.running)
        _, pid = running(gateway)
        await gateway.host.apply(None)
        await gateway.until_seen(lambda: gateway.host.observed() is None)
        assert running(gateway) == (None, None)
        assert pid is not None
        assert not psutil.pid_exists(pid)


async def test_the_uninstaller_can_stop_it(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    await gateway.control.publish(gateway.snapshot())
    await gateway.stop_agent()
    arguments = ["stop", "--state-dir", str(gateway.folder)]
    assert await asyncio.to_thread(main, arguments) == 0
    assert running(gateway) == (None, None)
    assert await asyncio.to_thread(main, arguments) == 0
    assert capsys.readouterr().out == "Envoy is stopped\nEnvoy did not run\n"


async def test_a_port_that_is_taken_is_said_with_who_holds_it_and_taken_up_when_free(gateway: Gateway) -> None:
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    with socket.create_server(("127.0.0.1", gateway.port)):
        await gateway.start_agent()
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and "taken" in o.message)
        observed = gateway.host.observed()
        assert observed is not None
        assert not observed.running
        me = psutil.Process()
        assert observed.message == (
            f"port {gateway.port} on 127.0.0.1 is taken by {me.name()} (pid {me.pid}); "
            "free it, or give the gateway another port"
        )
        assert running(gateway) == (None, None)
    await gateway.control.publish(gateway.snapshot())
    await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and o.running)


async def test_a_renewed_certificate_is_used_for_the_next_connection(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot())
    before = await asyncio.to_thread(certificates, gateway)
    gateway.authority.write_identity(HOST)
    await eventually(lambda: certificates(gateway) != before)
    await gateway.control.stop()
    await gateway.control.start()
    await gateway.control.until(lambda: gateway.control.connections == 2)


def certificates(gateway: Gateway) -> bytes:
    return admin.get(gateway.run_dir, "/certs")


async def test_a_host_that_is_no_gateway_gets_nothing(gateway: Gateway) -> None:
    gateway.control.authorized.clear()
    version = gateway.control.xds.publish(gateway.snapshot())
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()
    log = gateway.run_dir / "envoy.log"
    await eventually(lambda: log.exists() and "is no gateway of this server" in log.read_text())
    assert gateway.control.xds.acked("local") < version


async def test_the_admin_socket_is_for_its_owner_only(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot())
    assert os.stat(gateway.run_dir / "admin.sock").st_mode & 0o077 == 0
    assert os.stat(gateway.run_dir).st_mode & 0o077 == 0


async def test_another_role_starts_envoy_again_and_the_same_one_does_not(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot())
    await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and o.running)
    before = running(gateway)
    await gateway.host.apply(gateway.role)
    assert gateway.role is not None
    await gateway.host.apply(replace(gateway.role, xds_port=gateway.role.xds_port + 1))
    await until_envoy_is_another(gateway, before[1])
    assert running(gateway)[0] != before[0]


async def test_a_later_envoy_that_cannot_be_had_leaves_the_one_of_before_serving(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade of the agent that brings another version of Envoy: that is fetched first, then the old one is ended."""
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        before, there = running(gateway), os.environ["HOMEPORT_ENVOY_BINARY"]
        await gateway.stop_agent()
        monkeypatch.setattr(install, "VERSION", "99.0.0")
        monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", "/nowhere")
        await gateway.start_agent()
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and "/nowhere" in o.message)
        assert gateway.host.observed().running  # type: ignore[union-attr]
        assert (await gateway.client.request()).status == 200
        assert running(gateway) == before

        monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", there)
        await gateway.host.apply(gateway.role)
        await gateway.until_seen(lambda: (o := gateway.host.observed()) is not None and o.running and not o.message)
        assert running(gateway)[0] != before[0]
        gateway.client.close()
        assert (await gateway.client.request()).status == 200
