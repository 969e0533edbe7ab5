"""From zero: many requests that are held at a real Envoy go on when their first replica comes.

    .venv/bin/python -P tests/bench/bench_hold.py [--held N] [--rounds N] [--services N]

Two parts. *publish* begins where xds gets the snapshot with the first endpoint; *database* where the observation "ready" is
written, with the loop that reads it, among --services others: what the control plane adds to a replica's own start on its way
to traffic. For each, in ms: until Envoy's acknowledgement, until the first and the last answer, and from the acknowledgement to
the last; processor time of Python (the server's part) and of Envoy. Callers and replica are another process on the same cores.
*no hold* is the same crowd at a service that is awake: what callers, replica and Envoy take by themselves. Not a test: nothing
is asserted but that each answer is 200.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import structlog
from fixtures.control import State, add_host, add_replica, add_run, add_token, migrated, observe, opened
from homeport_agent.envoy import supervisor
from homeport_control.domain.gateway import Endpoint, GatewaySnapshot
from homeport_control.domain.replicas import Phase
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.loops.loop import Loop
from homeport_control.store import replicas as replicas_store
from rig.gateway import HOST, TOKEN, Client, Gateway, Replica, envoy_binary

BAR = "bar: 500 held, 0 lost, <= 300 ms on top of the replica's own start"
SLEEPS: dict[str, Any] = {"replicas": "0..2", "scaling": {"metric": "rps", "target": 10}}
COLUMNS = ("ACK", "first answer", "last answer", "ACK to last", "Python cpu", "Envoy cpu")


@dataclass
class Row:
    what: str
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, *values_s: float) -> None:
        for column, value_s in zip(self.columns.values(), values_s, strict=True):
            column.append(value_s * 1000)

    def line(self) -> str:
        said = (f"{statistics.median(it):8.1f} {max(it):8.1f}" for it in self.columns.values())
        return f"{self.what:24}" + " ".join(f"{it:>17}" for it in said)


HEAD = f"{'ms: median, worst':24}" + " ".join(f"{name:>17}" for name in COLUMNS)


def crowd(port: int, held: int, said: Connection) -> None:
    """The other process: a replica, and callers that ask once each whenever they are told to. Times are of one clock."""

    async def run() -> None:
        replica = await Replica("a").start()
        clients = [Client(port) for _ in range(held)]
        said.send(replica.port)
        while await asyncio.to_thread(said.recv):

            async def ask(client: Client) -> float:
                response = await client.request(timeout_s=60)
                assert response.status == 200, response
                return time.perf_counter()

            said.send(sorted(await asyncio.gather(*map(ask, clients))))

    asyncio.run(run())


class Bench:
    def __init__(self, gateway: Gateway, held: int) -> None:
        self.gateway = gateway
        self.held = held
        self.said, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=crowd, args=(gateway.port, held, theirs), daemon=True)
        self.process.start()
        self.replica = Endpoint("a", "127.0.0.1", self.said.recv())

    async def measure(self, row: Row, wake: Callable[[], Awaitable[None]] | None) -> None:
        """`wake`: makes it wake up; None: it is awake."""
        control = self.gateway.control
        envoy = psutil.Process(supervisor.envoy_pid(self.gateway.run_dir))
        began_s = acked_s = time.perf_counter()
        before = time.process_time(), sum(envoy.cpu_times()[:2])
        self.said.send(True)
        if wake is not None:
            await control.until(lambda: control.held.get("hello") == self.held)
            acks = len(control.acked)
            before = time.process_time(), sum(envoy.cpu_times()[:2])
            began_s = time.perf_counter()

            async def acked() -> float:
                await control.until(lambda: len(control.acked) > acks)
                return time.perf_counter()

            _, acked_s = await asyncio.gather(wake(), acked())
        answered = await asyncio.to_thread(self.said.recv)
        cpu_s = time.process_time() - before[0], sum(envoy.cpu_times()[:2]) - before[1]
        row.add(acked_s - began_s, answered[0] - began_s, answered[-1] - began_s, answered[-1] - acked_s, *cpu_s)


async def of_awake(bench: Bench, rounds: int) -> Row:
    row = Row("no hold")
    await bench.gateway.control.publish(bench.gateway.snapshot(bench.replica))
    for _ in range(rounds):
        await bench.measure(row, None)
    return row


async def of_publish(bench: Bench, rounds: int) -> Row:
    row = Row("publish")
    gateway = bench.gateway

    async def wake() -> None:
        await gateway.control.publish(gateway.snapshot(bench.replica))

    for _ in range(rounds):
        await gateway.control.publish(gateway.snapshot(held=True))
        await bench.measure(row, wake)
    return row


async def of_database(bench: Bench, state: State, rounds: int, services: int) -> Row:
    row = Row(f"database, {services} others")
    control = bench.gateway.control
    await add_host(state, HOST, gateway="local", gateway_ready=True, connected=True)
    await add_token(state, TOKEN, "admin")
    for number in range(services):
        await add_run(state, f"other-{number:04}", replicas=1)
    run_id = await add_run(state, **SLEEPS)
    loop = GatewayLoop(state.database)

    def publish(snapshot: GatewaySnapshot) -> int:
        return control.announce(replace(snapshot, http_port=bench.gateway.port))

    loop.publish, loop.forget = publish, control.xds.forget
    control.told = loop.on_acked
    acks = len(control.acked)
    turning = asyncio.create_task(Loop("gateway", state.database.changes, GatewayLoop.topics, loop.turn).run())
    await control.until(lambda: len(control.acked) > acks)
    for number in range(rounds):
        name = f"r{number}"
        await add_replica(state, run_id, name, host_id=HOST)

        async def wake(name: str = name) -> None:
            await observe(state, HOST, name, Phase.READY, host_port=bench.replica.port)

        await bench.measure(row, wake)
        async with state.database.write() as write:
            await replicas_store.end(write, name, time.time())
        await control.until(lambda: "hello" not in loop.in_rotation("local"))
    turning.cancel()
    await asyncio.wait([turning])
    return row


async def main(held: int, rounds: int, services: int) -> None:
    os.environ.setdefault("HOMEPORT_ENVOY_BINARY", str(envoy_binary()))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(BAR)
    print(f"{held} held, {rounds} rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        gateway = Gateway(Path(folder))
        await gateway.start()
        bench = Bench(gateway, held)
        try:
            print((await of_awake(bench, rounds)).line(), flush=True)
            print((await of_publish(bench, rounds)).line(), flush=True)
            async with opened(migrated(Path(folder) / "template.db", Path(folder) / "server").parent) as state:
                print((await of_database(bench, state, rounds, services)).line(), flush=True)
        finally:
            bench.process.terminate()
            await gateway.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--services", type=int, default=100)
    given = parser.parse_args()
    asyncio.run(main(given.held, given.rounds, given.services))
