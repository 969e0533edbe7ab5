"""What the ways to another host cost: requests per second to a replica behind its door, or a tunnel, against one on loopback.

    .venv/bin/python -P tests/bench/bench_paths.py [--rounds N] [--slice-s S] [--connections N]

All through the gateway's own chain without a token; the Envoys of door, edge and gateway share this machine's cores, as two
hosts would not. Slices are interleaved; nothing is asserted. Needs `wrk`.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_gateway import Fixed, Slices, measure
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.edge import Edge, edge_dir
from homeport_agent.model import DoorWish, EdgeHost, EdgeWish, TunnelTo
from homeport_control.domain.gateway import TUNNEL, Endpoint, ServiceRoute
from rig.far import ADDRESS, FarHost, far_host
from rig.gateway import HOST, Gateway, envoy_binary
from rig.ports import free_port

BARS = "bars: direct >= 0.75, tunnel >= 0.45"


async def bench(rounds: int, seconds: float, connections: int) -> dict[str, Slices]:
    upstream = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        gateway = Gateway(Path(folder))
        edge_port = free_port()
        changed = asyncio.Event()
        edge = Edge(gateway.folder, lambda: gateway.identity, changed.set, asyncio.Lock())
        wish = DoorWish((HOST,), (TunnelTo(HOST, "127.0.0.1", edge_port, "mark"),))
        await gateway.start()
        running = asyncio.create_task(edge.run())
        try:
            async with far_host(gateway, wish=wish) as far:
                edge.apply(EdgeWish(edge_port, "mark", (EdgeHost(far.host_id, (port,)),)))
                await far.opens_ports(port)
                while (seen := edge.observed()) is None or seen.hosts != (EdgeHost(far.host_id, (port,)),):
                    await changed.wait()
                    changed.clear()
                return await measured(gateway, far, port, rounds, seconds, connections)
        finally:
            running.cancel()
            await asyncio.to_thread(supervisor.stop, edge_dir(gateway.folder))
            await gateway.close()
            upstream.close()


async def measured(
    gateway: Gateway, far: FarHost, port: int, rounds: int, seconds: float, connections: int
) -> dict[str, Slices]:
    ways = {
        "loopback": Endpoint("near", "127.0.0.1", port),
        "direct": Endpoint("door", ADDRESS, port, host_id=far.host_id),
        "tunnel": Endpoint("tunnel", f"{TUNNEL}{far.host_id}", port),
    }
    services = tuple(ServiceRoute(name, (f"{name}.localhost",), False, (it,)) for name, it in sorted(ways.items()))
    await gateway.control.publish(gateway.snapshot(services=services))
    variants = {name: Slices(f"http://127.0.0.1:{gateway.port}/", [f"Host: {name}.localhost"]) for name in ways}
    envoy = supervisor.envoy_pid(gateway.run_dir)
    assert envoy is not None
    for _ in range(rounds):
        for slices in variants.values():
            await measure(slices, envoy, seconds, connections)
    return variants


def table(variants: dict[str, Slices]) -> str:
    base = variants["loopback"]
    lines = [f"{'':20} {'rps':>8} {'ratio':>6} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7} {'failed':>6}"]
    for name, slices in variants.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(slices.rps, base.rps, strict=True))
        lines.append(
            f"{name:20} {statistics.median(slices.rps):8.0f} {ratio:6.2f} {statistics.median(slices.p50_ms):7.2f} "
            f"{statistics.median(slices.p99_ms):7.2f} {min(slices.cpu_us):7.1f} {slices.failed:6}"
        )
    return "\n".join(
        [*lines, f"{BARS} (ratio: median of the rounds'; CPU: of the gateway's Envoy alone, least of the rounds)"]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice-s", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed", file=sys.stderr)
        return 1
    os.environ.setdefault("HOMEPORT_ENVOY_BINARY", str(envoy_binary()))
    print(table(asyncio.run(bench(options.rounds, options.slice_s, options.connections))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
