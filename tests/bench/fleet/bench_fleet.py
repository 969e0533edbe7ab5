"""What a fleet costs the server: 10, 100 and 1,000 simulated agents with ten replicas each, over real gRPC with mTLS.

    .venv/bin/python -P tests/bench/fleet/bench_fleet.py [--agents 10,100,1000] [--per-agent 10] [--services N]
        [--database URL] [--json FILE] [--rounds N] [--no-storm] [--limit-s 540]

For each number of agents: until all are connected, until all replicas are placed, ready and in rotation after they were
applied, then what a quiet fleet costs (processor, memory, threads, files), the latency of the API in it, and a kill -9 of
the server: until all are connected again, while `homeport ps` is asked again and again. How late the server's event loop was
is counted for each of these. What ends early (`--limit-s`, SIGTERM, a step that takes too long) shows what it has. Asserts
nothing.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.fleet.stand import Client, Crowd, Server, stand, until
from homeport_protos.lag import quantile_ms

QUIET_S = 20.0
ROUNDS = 80
SMALL = "small"  # a service with one replica in each fleet: what asking for it costs can be compared
DEADLINE_S = 600.0


def service(name: str, replicas: int) -> dict[str, Any]:
    return {
        "type": "service",
        "name": name,
        "image": "registry.example/model-1:1",
        "port": 8000,
        "replicas": replicas,
        "resources": {"gpu": {"memory": "8GB", "shared": True}},
        "env": {"MODEL": "x"},
        "probes": [{"type": "http", "url": "/health"}],
    }


async def measured(
    server: Server, crowd: Crowd, services: int, replicas: int, rounds: int, storm: bool, found: dict[str, Any]
) -> None:
    """Into `found`, as far as it comes."""
    found |= {"agents": crowd.count, "replicas": services * replicas}
    async with server.client() as client:

        async def all_connected() -> bool:
            return bool(crowd.look()["connected"] == crowd.count)

        found["connected_s"] = await until("all are connected", all_connected, DEADLINE_S)
        say(f"{crowd.count} agents are connected; server's pid {server.process.pid}, cpu {server.used().cpu_s:.1f} s")
        before, began_s, late = server.used(), time.monotonic(), server.late()
        for number in range(services):
            await client.apply(service(f"service-{number:04}", replicas))
        await client.apply(service(SMALL, 1))
        found["applied_s"] = time.monotonic() - began_s
        found |= await placed(server, client, crowd, services * replicas + 1, began_s)
        found["apply_cpu_s"] = server.used().cpu_s - before.cpu_s
        found["apply_late_ms"] = late_ms(late, server.late())
        say("quiet")
        found |= await quiet(server, crowd)
        say("latencies")
        late = server.late()
        await latencies(client, rounds, found.setdefault("api_ms", {}))
        found["api_late_ms"] = late_ms(late, server.late())
        if storm:
            found["storm"] = await stormed(server, client, crowd)


def late_ms(before: Sequence[int], after: Sequence[int]) -> list[float]:
    """How late the server's event loop was between two looks, in ms: at most so much in 50, 95 and 99 % of the times."""
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return [quantile_ms(counts, share) for share in (0.5, 0.95, 0.99)]


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


async def placed(server: Server, client: Client, crowd: Crowd, wanted: int, began_s: float) -> dict[str, float]:
    """From the first apply on: until all have a host, until all are ready there, until all are in rotation."""
    at: dict[str, float] = {}

    async def look() -> bool:
        there = crowd.look()
        say(
            f"held {there['held']}, ready {there['ready']}, reports {there['reports']}, cpu {server.used().cpu_s:.1f} s"
        )
        if there["held"] == wanted:
            at.setdefault("held_s", time.monotonic() - began_s)
        if there["ready"] == wanted:
            at.setdefault("ready_s", time.monotonic() - began_s)
            runs = (await client.ps()).runs
            return sum(it.in_rotation for run in runs for it in run.replicas) == wanted
        return False

    await until(f"{wanted} replicas are in rotation", look, DEADLINE_S, every_s=1.0)
    return {**at, "in_rotation_s": time.monotonic() - began_s}


async def quiet(server: Server, crowd: Crowd) -> dict[str, Any]:
    """What it costs while nothing is asked."""
    await asyncio.sleep(5)
    used, said, late = server.used(), crowd.look(), server.late()
    await asyncio.sleep(QUIET_S)
    now, then = server.used(), crowd.look()
    wall_s = now.at_s - used.at_s
    core = (now.cpu_s - used.cpu_s) / wall_s
    return {
        "cores": core,
        "core_per_agent_us_s": core / crowd.count * 1e6,
        "reports_s": (then["reports"] - said["reports"]) / wall_s,
        "telemetry_s": (then["telemetry"] - said["telemetry"]) / wall_s,
        "agents_cores": (then["cpu_s"] - said["cpu_s"]) / wall_s,
        "quiet_late_ms": late_ms(late, server.late()),
        "rss_mib": now.rss_mib,
        "threads": now.threads,
        "files": now.files,
    }


async def latencies(client: Client, rounds: int, found: dict[str, list[float]]) -> None:
    """By call: p50, p95 and worst, in ms, of those that were made so far."""
    first = service(SMALL, 1)
    calls = {
        "server": client.server,
        "ps NAME": lambda: client.ps(SMALL),
        "ps": client.ps,
        "fleet get NAME": lambda: client.hosts("sim-00001"),
        "fleet list": client.hosts,
        "event": client.events,
        "plan": lambda: client.plan(first),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began_s = time.perf_counter()
            await call()
            taken[name].append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(0.02)
        if len(taken["server"]) > 1:
            for name, ms in taken.items():
                found[name] = [statistics.median(ms), statistics.quantiles(ms, n=20)[-1], max(ms)]


async def stormed(server: Server, client: Client, crowd: Crowd) -> dict[str, Any]:
    """The server is killed and started again at once: until all are back; what `homeport` says meanwhile."""
    await asyncio.to_thread(server.log_in)
    before = crowd.look()["sessions"]
    server.process.kill()
    server.process.start()
    began_s = time.monotonic()
    used = 0.0
    await client.up()
    up_s = time.monotonic() - began_s
    said: list[tuple[float, float, str]] = []
    stop = asyncio.Event()

    async def asking() -> None:
        while not stop.is_set():
            for command in (("ps",), ("fleet", "list")):
                asked_s = time.monotonic()
                done = await asyncio.to_thread(server.homeport, *command)
                said.append((asked_s - began_s, time.monotonic() - asked_s, done.stderr if done.returncode else ""))

    task = asyncio.create_task(asking())

    async def back() -> bool:
        there = crowd.look()
        return bool(there["connected"] == crowd.count and there["sessions"] >= before + crowd.count)

    await until("all are connected again", back, DEADLINE_S)
    connected_s = time.monotonic() - began_s

    async def shown() -> bool:
        return all(it.connection == "connected" for it in (await client.hosts()).hosts)

    await until("all are shown as connected", shown, DEADLINE_S)
    settled_s = time.monotonic() - began_s
    used = server.used().cpu_s
    stop.set()
    await task
    runs = (await client.ps()).runs
    return {
        "up_s": up_s,
        "connected_s": connected_s,
        "settled_s": settled_s,
        "cpu_s": used,
        "cli_calls": len(said),
        "cli_worst_s": max(took for _, took, _ in said),
        "cli_errors": [error for _, _, error in said if error],
        "in_rotation": sum(it.in_rotation for run in runs for it in run.replicas),
        "broken": crowd.look()["broken"],
    }


def show(results: list[dict[str, Any]]) -> None:
    """A column for each number of agents; what was not reached is left out."""

    def row(name: str, values: list[Any]) -> None:
        print(f"{name:34}" + "".join(f"{_text(it):>24}" for it in values), flush=True)

    keys = dict.fromkeys(key for it in results for key in it)
    for key in keys:
        found = [it.get(key) for it in results]
        if any(isinstance(it, dict) for it in found):
            for inner in dict.fromkeys(name for it in found for name in it or ()):
                row(f"{key}: {inner}", [(it or {}).get(inner) for it in found])
        else:
            row(key, found)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(it, float) for it in value):
        return " ".join(f"{it:.1f}" for it in value)
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and take the processes along
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", default="10,100,1000")
    parser.add_argument("--per-agent", type=int, default=10, help="replicas")
    parser.add_argument("--services", type=int, default=0, help="default: one for each 50 replicas, at least 10")
    parser.add_argument("--database", default="")
    parser.add_argument("--facts-every-s", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of calls of the API")
    parser.add_argument("--no-storm", action="store_true")
    parser.add_argument("--limit-s", type=float, default=0.0, help="of all of it; then it ends and shows what it has")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"it took {arguments.limit_s:g} s, its limit"))
    signal.setitimer(signal.ITIMER_REAL, arguments.limit_s)
    more = ("--database", arguments.database) if arguments.database else ()
    results: list[dict[str, Any]] = []
    try:
        for count in map(int, arguments.agents.split(",")):
            total = count * arguments.per_agent
            services = arguments.services or max(10, total // 50)
            results.append({"agents": count})
            with stand(count, *more, facts_every_s=arguments.facts_every_s) as (server, crowd):
                work = measured(
                    server, crowd, services, total // services, arguments.rounds, not arguments.no_storm, results[-1]
                )
                asyncio.run(work)
            show(results[-1:])
    finally:
        show(results)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
