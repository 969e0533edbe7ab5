"""Tunnels: a host dials the edge beside a gateway, and the gateway's requests come back over it. Three real Envoys.

F1 and so on are the findings about Envoy's reverse tunnels that each setting answers; the tests fail without it.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from homeport_agent.envoy import admin, supervisor
from homeport_agent.envoy.edge import Edge, edge_dir
from homeport_agent.model import DoorWish, EdgeHost, EdgeObserved, EdgeWish, TunnelTo
from homeport_control.domain.gateway import Endpoint, GatewaySnapshot, Traffic
from rig.far import DEADLINE_S, FAR, FarHost, far_host
from rig.gateway import HOST, TOKEN, Client, Gateway, Replica, read_head, replicas
from rig.ports import free_port
from rig.relay import Relay

pytestmark = pytest.mark.envoy

MARK = "0123456789abcdef"


class Hub:
    """The gateway's host: its edge, and the wire on which the far host dials it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = free_port()
        self.changed = asyncio.Event()
        self.edge = Edge(gateway.folder, lambda: gateway.identity, self.changed.set, asyncio.Lock())
        self.wire = Relay(self.port)

    def wish(self) -> DoorWish:
        return DoorWish((HOST,), (TunnelTo(HOST, "127.0.0.1", self.wire.port, MARK),))

    async def takes(self, far: FarHost, *behind: Replica) -> None:
        """Until each has a socket and the host a tunnel."""
        await far.opens(*behind)
        wanted = (EdgeHost(far.host_id, far.ports),)
        self.edge.apply(EdgeWish(self.port, MARK, wanted))
        await self.until(lambda seen: seen.hosts == wanted)

    async def until(self, met: Callable[[EdgeObserved], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (seen := self.edge.observed()) is None or not met(seen):
                await self.changed.wait()
                self.changed.clear()

    def snapshot(self, *endpoints: Endpoint) -> GatewaySnapshot:
        return replace(self.gateway.snapshot(*endpoints), tunnel_mark=MARK)

    @property
    def run_dir(self) -> Path:
        return edge_dir(self.gateway.folder)


@pytest.fixture
async def hub(gateway: Gateway) -> AsyncIterator[Hub]:
    made = Hub(gateway)
    await made.wire.start()
    task = asyncio.create_task(made.edge.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.to_thread(supervisor.stop, made.run_dir)
        await made.wire.close()


@pytest.fixture
async def far(gateway: Gateway, hub: Hub) -> AsyncIterator[FarHost]:
    async with far_host(gateway, wish=hub.wish()) as made:
        yield made


@asynccontextmanager
async def caller(gateway: Gateway) -> AsyncIterator[Client]:
    client = Client(gateway.port)
    yield client
    client.close()


async def until_answered(client: Client, status: int = 200) -> list[int]:
    """All answers up to the first one with this status."""
    seen: list[int] = []
    async with asyncio.timeout(DEADLINE_S):
        while not seen or seen[-1] != status:
            seen.append((await client.request()).status)
    return seen


async def test_requests_come_as_they_were_sent_and_nothing_of_the_way_is_seen(
    gateway: Gateway, hub: Hub, far: FarHost
) -> None:
    async with replicas("one", "two") as both, caller(gateway) as client:
        await hub.takes(far, *both)
        await gateway.control.publish(hub.snapshot(*(far.tunnelled(it) for it in both)))
        body, seen = b"x" * 3_000_000, set()
        async with asyncio.timeout(DEADLINE_S):
            while seen != {"one", "two"}:  # F7: each has an address of its own
                answer = await client.request(path="/a/../b%20c?q=1", method="POST", body=body, headers={"x-mine": "1"})
                assert answer.status == 200
                got = answer.json()
                seen.add(got["replica"])
        headers = got["headers"]
        assert isinstance(headers, dict)
        assert (got["method"], got["path"], got["body_bytes"]) == ("POST", "/a/../b%20c?q=1", len(body))
        assert (headers["host"], headers["x-mine"]) == ("hello.localhost", "1")
        assert "," not in headers["x-forwarded-for"], "the tunnel's ends are no hops"
        assert not [name for name in (*headers, *answer.headers) if name.startswith("x-homeport")]


async def test_replicas_on_all_three_ways_serve_together(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    async with replicas("near", "direct", "behind") as (near, direct, behind), caller(gateway) as client:
        await hub.takes(far, direct, behind)
        await gateway.control.publish(hub.snapshot(near.endpoint(), far.directly(direct), far.tunnelled(behind)))
        seen = set()
        async with asyncio.timeout(DEADLINE_S):
            while seen != {"near", "direct", "behind"}:
                answer = await client.request()
                assert answer.status == 200
                seen.add(answer.json()["replica"])


async def test_websockets_and_streams_pass(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    async with replicas("one") as (one,), caller(gateway) as client, caller(gateway) as other:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        allowed = {"authorization": f"Bearer {TOKEN}"}
        upgrade = {"connection": "upgrade", "upgrade": "websocket", **allowed}
        async with asyncio.timeout(DEADLINE_S):
            reader = await client.send("GET", "/ws", "hello.localhost", upgrade)
            assert (await read_head(reader))[1] == "101"
            assert client.writer is not None
            client.writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            held = await other.send("GET", "/hold", "hello.localhost", allowed)
            assert b"first" in await held.readuntil(b"first"), "a part is here before the whole is"
            one.release.set()
            assert b"last" in await held.readuntil(b"last")


async def test_a_replica_is_spoken_to_in_its_protocol(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.readexactly(24))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    grpc_only = Replica("grpc")
    grpc_only.port = server.sockets[0].getsockname()[1]
    await hub.takes(far, grpc_only)
    base = hub.snapshot(far.tunnelled(grpc_only))
    (service,) = base.services
    await gateway.control.publish(replace(base, services=(replace(service, traffic=Traffic(h2c=True)),)))
    async with caller(gateway) as client:
        asking = asyncio.create_task(client.request())
        async with asyncio.timeout(DEADLINE_S):
            assert await heard.get() == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        await asking
    server.close()


async def test_what_passes_the_wire_is_not_readable_on_it(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    """F1: the tunnel's own TLS ends with its handshake."""
    async with replicas("one") as (one,), caller(gateway) as client:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        secret = b"BODY-THAT-NOBODY-READS" * 100
        answer = await client.request(path="/PATH-THAT-NOBODY-READS", method="POST", body=secret)
        assert answer.status == 200
        assert len(hub.wire.carried) > len(secret), "it went this way"
        assert b"NOBODY-READS" not in hub.wire.carried


async def test_a_host_takes_no_requests_of_another_one(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    """F2: neither under its name, nor as a cluster of its name, nor with its certificate's name on the inside."""
    async with replicas("one", "thief") as (one, thief), caller(gateway) as client:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        wire = await Relay(hub.port).start()
        wish = DoorWish((HOST,), (TunnelTo(HOST, "127.0.0.1", wire.port, MARK),))
        async with far_host(gateway, "thief", wish) as stranger:
            await stranger.opens(thief)
            stranger.task.cancel()  # it would put its own words back
            file = stranger.run_dir / "lds.json"
            said = file.read_text()
            own, victim = "rc://thief.host.homeport:edge:", f"{FAR}.host.homeport"
            assert own in said
            for lie in (f"rc://{victim}:edge:", f"rc://thief.host.homeport:{victim}:"):
                before = wire.connections
                listeners = json.loads(said.replace(own, lie).replace('"name": "edge-', f'"name": "lie-{before}-'))
                listeners["version_info"] = lie
                fresh = stranger.run_dir / "lds.new"
                fresh.write_text(json.dumps(listeners))
                fresh.replace(file)
                async with asyncio.timeout(DEADLINE_S):
                    await wire.until(before + 3)  # it tries, and tries again
                    hub.wire.cut()  # whose tunnel is there first now?
                client.close()
                try:
                    await client.request()
                except TimeoutError:  # one that the cut took with it: the gateway gives it up after a minute
                    client.close()
                await until_answered(client)
                for _ in range(20):
                    answer = await client.request()
                    assert (answer.status, answer.json().get("replica")) == (200, "one")
            stats = await asyncio.to_thread(admin.get, hub.run_dir, "/stats?filter=%5C.cluster%5C.")
            assert {it.partition(b":")[0].partition(b".cluster.")[2] for it in stats.split()[::2]} == {b"edge"}
        await wire.close()
        assert thief.served == 0


async def test_the_edge_has_one_worker(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    """F3: a worker without a tunnel of its own would answer nothing."""
    async with replicas("one") as (one,):
        await hub.takes(far, one)
    words = psutil.Process(supervisor.envoy_pid(hub.run_dir)).cmdline()
    assert words[words.index("--concurrency") + 1] == "1"


async def test_those_who_read_slowly_stop_nobody(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    """F4: all share the tunnel's connections; with Envoy's default windows nothing would come through any more."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, path, _ = await read_head(reader)
            if path == "/big":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900000000\r\n\r\n")
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    big = Replica("big")
    big.port = server.sockets[0].getsockname()[1]
    await hub.takes(far, big)
    await gateway.control.publish(hub.snapshot(far.tunnelled(big)))
    slow = [Client(gateway.port) for _ in range(8)]
    for client in slow:
        reader = await client.send("GET", "/big", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        async with asyncio.timeout(DEADLINE_S):
            await reader.readexactly(200_000)  # and no more: everything between fills up
    async with caller(gateway) as client:
        for _ in range(20):
            assert (await client.request()).body == b"ok"
    for client in slow:
        client.close()
    server.close()


async def test_a_cut_link_is_dialled_again_and_a_silent_one_is_noticed(
    gateway: Gateway, hub: Hub, far: FarHost
) -> None:
    """F5: with Envoy's defaults it would be ten seconds and more, or never."""
    async with replicas("one") as (one,), caller(gateway) as client:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        assert (await client.request()).status == 200
        for break_it in (hub.wire.cut, hub.wire.silence):
            before = hub.wire.connections
            break_it()
            async with asyncio.timeout(9):
                await hub.wire.until(before + 2)
            client.close()  # what was sent into the silence is lost
            await until_answered(client)


async def test_a_renewed_certificate_cuts_nothing_and_is_shown_at_the_next_dialling(
    gateway: Gateway, hub: Hub, far: FarHost
) -> None:
    async with replicas("one") as (one,), caller(gateway) as client, caller(gateway) as other:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        reader = await client.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        async with asyncio.timeout(DEADLINE_S):
            await reader.readuntil(b"first")
            for identity in (gateway.identity, far.identity):
                gateway.authority.write_identity(identity.host_id, identity.certificate.parent)
            assert (await other.request()).status == 200
            one.release.set()
            assert b"last" in await reader.readuntil(b"last")
        before = hub.wire.connections
        hub.wire.cut()
        async with asyncio.timeout(DEADLINE_S):
            await hub.wire.until(before + 2)
        other.close()
        await until_answered(other)


async def test_what_no_replica_has_seen_is_asked_elsewhere_and_a_post_that_one_has_is_not(
    gateway: Gateway, hub: Hub, far: FarHost
) -> None:
    async with replicas("near", "behind") as (near, behind), caller(gateway) as client:
        await hub.takes(far, behind)
        await gateway.control.publish(hub.snapshot(near.endpoint(), far.tunnelled(behind)))
        await behind.stop()  # refuses: the host's end says so
        for _ in range(20):
            assert (await client.request(method="POST", body=b"1")).json()["replica"] == "near"
        await asyncio.to_thread(supervisor.stop, far.run_dir)  # no tunnel at all: the edge says so
        await hub.until(lambda seen: seen.hosts == ())
        for _ in range(20):
            assert (await client.request(method="POST", body=b"1")).json()["replica"] == "near"
        await gateway.control.publish(hub.snapshot(far.tunnelled(behind)))
        refused = await client.request(method="POST", body=b"1")
        assert (refused.status, refused.json()["error"]["code"]) == (503, "replica_unreachable")  # type: ignore[index]
        assert "x-homeport-tunnel" not in refused.headers


async def test_a_post_whose_replica_breaks_off_is_not_sent_twice(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    async with replicas("one") as (one,), caller(gateway) as client:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        answer = await client.request(path="/break", method="POST", body=b"1")
        assert (answer.status, one.served) == (503, 1)
        assert "x-homeport-tunnel" not in answer.headers


async def test_a_replica_cannot_have_its_own_request_repeated(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    served = 0

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await read_head(reader)
        served += 1
        head = f"HTTP/1.1 503 No\r\ncontent-length: 2\r\nx-homeport-tunnel: {MARK} unreachable\r\n\r\nno"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    liar = Replica("liar")
    liar.port = server.sockets[0].getsockname()[1]
    await hub.takes(far, liar)
    await gateway.control.publish(hub.snapshot(far.tunnelled(liar)))
    async with caller(gateway) as client:
        answer = await client.request()
    assert (answer.status, answer.body, served) == (503, b"no", 1)
    server.close()


async def test_each_envoy_may_be_killed_and_is_back_without_an_agent(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    """F9: their parent is a supervisor of their own."""
    async with replicas("one") as (one,), caller(gateway) as client:
        await hub.takes(far, one)
        await gateway.control.publish(hub.snapshot(far.tunnelled(one)))
        await gateway.stop_agent()
        for run_dir in (hub.run_dir, far.run_dir):
            assert (await client.request()).status == 200
            pid = supervisor.envoy_pid(run_dir)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert set(await until_answered(client)) <= {200, 503}


async def test_requests_in_flight_survive_a_change_of_path(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    async with replicas("one") as (one,), caller(gateway) as client, caller(gateway) as other:
        await hub.takes(far, one)
        allowed = {"authorization": f"Bearer {TOKEN}"}
        for before, after in ((far.tunnelled, far.directly), (far.directly, far.tunnelled)):
            one.release.clear()
            await gateway.control.publish(hub.snapshot(before(one)))
            held = await client.send("GET", "/hold", "hello.localhost", allowed)
            async with asyncio.timeout(DEADLINE_S):
                await held.readuntil(b"first")
            await gateway.control.publish(hub.snapshot(after(one)))
            assert (await other.request()).status == 200
            one.release.set()
            async with asyncio.timeout(DEADLINE_S):
                assert b"last" in await held.readuntil(b"last\r\n0\r\n\r\n")


async def test_load_reports_count_what_is_behind_a_tunnel(gateway: Gateway, hub: Hub, far: FarHost) -> None:
    async with replicas("one") as (one,), caller(gateway) as client:
        await hub.takes(far, one)
        endpoint = far.tunnelled(one)
        await gateway.control.publish(hub.snapshot(endpoint))
        reader = await client.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        async with asyncio.timeout(DEADLINE_S):
            await reader.readuntil(b"first")
            while True:
                report = await gateway.control.loads.get()
                if found := [it for it in report.endpoints if it.in_flight]:
                    break
        assert [(it.address, it.port, it.in_flight) for it in found] == [(endpoint.address, one.port, 1)]
        one.release.set()


async def test_nobody_without_a_certificate_of_ours_has_a_tunnel_and_without_hosts_there_is_no_edge(
    gateway: Gateway, hub: Hub, far: FarHost, tmp_path: Path
) -> None:
    async with replicas("one") as (one,):
        await hub.takes(far, one)
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read() == b""
        hub.edge.apply(None)
        async with asyncio.timeout(DEADLINE_S):
            while hub.edge.observed() is not None:
                await hub.changed.wait()
                hub.changed.clear()
        assert supervisor.find(hub.run_dir) is None


async def test_a_taken_port_is_told_with_who_has_it(hub: Hub) -> None:
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", hub.port)
    hub.edge.apply(EdgeWish(hub.port, MARK, (EdgeHost(FAR, ()),)))
    await hub.until(lambda seen: f"port {hub.port} on 0.0.0.0 is taken by" in seen.message)
    taken.close()
    await taken.wait_closed()
    await hub.until(lambda seen: seen.message == "")
