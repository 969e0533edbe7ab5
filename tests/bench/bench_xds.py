"""From a change of one endpoint to traffic, with many services: 1,000 of 4 replicas each, in a real Envoy.

    .venv/bin/python -P tests/bench/bench_xds.py [--services N] [--replicas N] [--rounds N]

Two parts: *publish* begins where xds gets the snapshot; *database* where a replica that is ready elsewhere is written, with
the loop that reads all of it. For each: until the first answer of the new replica, until the ACK of all, bytes to Envoy,
processor time of Python (this process, replicas and client too) and of Envoy. Not a test: nothing is asserted.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import sqlalchemy as sa
from fixtures.control import State, add_host, migrated, opened, revision, service
from homeport_agent.envoy import supervisor
from homeport_control.domain.gateway import Endpoint, GatewaySnapshot, ServiceRoute
from homeport_control.domain.replicas import Observation, Phase, Replica, Wanted
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.loops.loop import Loop
from homeport_control.store import replicas as replicas_store
from homeport_control.store import runs, schema
from homeport_control.xds import convert
from homeport_control.xds.subscription import Response
from rig.gateway import Gateway, envoy_binary, replicas

BAR = "bar: endpoint change to traffic <= 50 ms at 1,000 services"
FIRST_PORT = 20_000  # of replicas that nobody asks for


@dataclass
class Row:
    what: str
    traffic_ms: list[float] = field(default_factory=list)
    acked_ms: list[float] = field(default_factory=list)
    python_ms: list[float] = field(default_factory=list)
    envoy_ms: list[float] = field(default_factory=list)
    sent_bytes: list[float] = field(default_factory=list)

    def line(self) -> str:
        def said(values: list[float]) -> str:
            return f"{statistics.median(values):9.1f} {max(values):9.1f}" if values else f"{'-':>9} {'-':>9}"

        columns = (self.traffic_ms, self.acked_ms, self.python_ms, self.envoy_ms, self.sent_bytes)
        return f"{self.what:34}" + " ".join(map(said, columns))


HEAD = f"{'median, worst':34}" + " ".join(
    f"{name:>19}" for name in ("to traffic ms", "to ACK ms", "Python cpu ms", "Envoy cpu ms", "bytes")
)


class Sent:
    """Counts what goes to Envoy; made before the server is."""

    def __init__(self) -> None:
        self.bytes = 0
        self._serialise = convert.response_bytes
        convert.response_bytes = self

    def __call__(self, response: Response) -> bytes:
        data = self._serialise(response)
        self.bytes += len(data)
        return data


class Bench:
    def __init__(self, gateway: Gateway, sent: Sent) -> None:
        self.gateway = gateway
        self._sent = sent

    async def measure(
        self, row: Row, change: Callable[[], Awaitable[int]], host: str, served: Callable[[dict[str, object]], bool]
    ) -> None:
        """`change` begins it and answers the version to wait for."""
        pid = supervisor.envoy_pid(self.gateway.run_dir)
        envoy = psutil.Process(pid)
        before = sum(envoy.cpu_times()[:2]), time.process_time(), self._sent.bytes
        began_s = time.perf_counter()

        async def acked() -> float:
            version = await change()
            assert await self.gateway.control.xds.wait_acked("local", version, 120), self.gateway.control.nacked
            return time.perf_counter() - began_s

        async def traffic() -> float:
            while True:
                response = await self.gateway.client.request(host)
                if response.status == 200 and served(response.json()):
                    return time.perf_counter() - began_s
                await asyncio.sleep(0.0005)

        acked_s, traffic_s = await asyncio.gather(acked(), traffic())
        row.traffic_ms.append(traffic_s * 1000)
        row.acked_ms.append(acked_s * 1000)
        row.python_ms.append((time.process_time() - before[1]) * 1000)
        row.envoy_ms.append((sum(envoy.cpu_times()[:2]) - before[0]) * 1000)
        row.sent_bytes.append(self._sent.bytes - before[2])


def world_of(gateway: Gateway, services: int, count: int, *first: Endpoint) -> GatewaySnapshot:
    """`first`: the endpoints of the service that is asked for."""
    made = []
    for number in range(services):
        name = f"svc-{number:04}"
        ports = range(FIRST_PORT + number * count, FIRST_PORT + (number + 1) * count)
        endpoints = first if number == 0 else tuple(Endpoint(f"r{port}", "127.0.0.1", port) for port in ports)
        made.append(ServiceRoute(name, (f"{name}.localhost",), True, endpoints))
    return replace(gateway.snapshot(), services=tuple(made))


async def by_publishing(bench: Bench, services: int, count: int, rounds: int) -> list[Row]:
    gateway = bench.gateway
    first, swap, add = Row("first load"), Row("one endpoint is another"), Row("one service more")
    async with replicas("a", "b") as (a, b):
        both = (a, b)

        def publish(snapshot: GatewaySnapshot) -> Callable[[], Awaitable[int]]:
            async def change() -> int:
                return gateway.control.xds.publish(snapshot)

            return change

        await gateway.control.publish(gateway.snapshot())
        snapshot = world_of(gateway, services, count, a.endpoint())
        await bench.measure(first, publish(snapshot), "svc-0000.localhost", lambda _: True)
        for turn in range(rounds):
            now = both[(turn + 1) % 2]
            snapshot = world_of(gateway, services, count, now.endpoint())
            await bench.measure(
                swap, publish(snapshot), "svc-0000.localhost", lambda it, name=now.name: it["replica"] == name
            )
        for turn in range(rounds):
            name = f"zz-{turn}"
            new = ServiceRoute(name, (f"{name}.localhost",), True, (replace(a.endpoint(), replica_id=name),))
            snapshot = replace(snapshot, services=(*snapshot.services, new))
            await bench.measure(add, publish(snapshot), f"{name}.localhost", lambda _: True)
    return [first, swap, add]


async def fill(state: State, services: int, count: int, a_port: int) -> None:
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    rows = []
    one = revision(state, service("svc", replicas=count))
    async with state.database.write() as write:
        for number in range(services):
            spec_json = one.spec_json.replace('"svc"', f'"svc-{number:04}"')
            await runs.insert(
                write, f"run{number}", f"svc-{number:04}", "alice", replace(one, spec_json=spec_json), 1000.0
            )
            for index in range(count if number else 1):
                replica = Replica(
                    f"r{number}-{index}",
                    f"run{number}",
                    index=index,
                    revision=1,
                    wanted=Wanted.RUN,
                    created_at_s=1000.0,
                    phase=Phase.READY,
                    host_id="h1",
                    host_port=FIRST_PORT + number * count + index if number else a_port,
                )
                rows.append({name: getattr(replica, name) for name in Replica.__slots__})
        await write.connection.execute(sa.insert(schema.replicas), rows)


async def by_the_database(bench: Bench, folder: Path, services: int, count: int, rounds: int) -> list[Row]:
    gateway = bench.gateway
    row, turns = Row("a replica is written ready elsewhere"), []
    folder.mkdir()  # noqa: ASYNC240
    migrated(folder / "template.db", folder / "state")
    async with opened(folder / "state") as state, replicas("a", "b") as (a, b):
        await fill(state, services, count, a.port)
        loop = GatewayLoop(state.database)

        def publish(snapshot: GatewaySnapshot) -> int:
            return gateway.control.xds.publish(
                replace(snapshot, http_port=gateway.port, tokens=gateway.snapshot().tokens)
            )

        async def turn(now_s: float) -> object:
            began_s = time.perf_counter()
            done = await loop.turn(now_s)
            turns.append((time.perf_counter() - began_s) * 1000)
            return done

        loop.publish = publish
        loop.forget = gateway.control.xds.forget
        gateway.control.xds._on_acked = loop.on_acked
        running = asyncio.create_task(Loop("gateway", state.database.changes, GatewayLoop.topics, turn).run())  # type: ignore[arg-type]
        async with asyncio.timeout(120):
            while (await gateway.client.request("svc-0000.localhost")).status != 200 or len(turns) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        turns.clear()
        for number in range(rounds):
            now = (a, b)[(number + 1) % 2]
            port = now.port

            async def change(port: int = port) -> int:
                version = gateway.control.xds._version
                async with state.database.write() as write:
                    found = [Observation("r0-0", Phase.READY, host_port=port)]
                    await replicas_store.observe(write, "h1", found, time.time())
                return version + 1

            await bench.measure(row, change, "svc-0000.localhost", lambda it, name=now.name: it["replica"] == name)
            await asyncio.sleep(0.3)
        running.cancel()
        print(f"turns of the loop: median {statistics.median(turns):.1f} ms, worst {max(turns):.1f} ms")
    return [row]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    os.environ["HOMEPORT_ENVOY_BINARY"] = str(envoy_binary())
    sent = Sent()
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        gateway = Gateway(Path(folder))
        await gateway.start()
        try:
            bench = Bench(gateway, sent)
            rows = await by_publishing(bench, options.services, options.replicas, options.rounds)
            rows += await by_the_database(
                bench, Path(folder) / "server", options.services, options.replicas, options.rounds
            )
        finally:
            await gateway.close()
    print(f"{options.services} services of {options.replicas} replicas, {os.cpu_count()} cores; {BAR}")
    print(HEAD)
    for row in rows:
        print(row.line())


if __name__ == "__main__":
    asyncio.run(main())
