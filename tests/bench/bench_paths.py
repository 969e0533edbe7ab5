"""What the direct way costs: requests per second to a replica behind another host's door against one on loopback.

    .venv/bin/python -P tests/bench/bench_paths.py [--rounds N] [--slice-s S] [--connections N]

Both through the gateway's own chain without a token; the door's Envoy and the gateway's share this machine's cores, as two
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
from homeport_agent.envoy.door import Door, door_dir
from homeport_agent.model import DoorObserved, DoorWish
from homeport_control.domain.gateway import Endpoint, ServiceRoute
from rig.gateway import HOST, Gateway, envoy_binary

FAR, ADDRESS = "far-host", "127.0.0.2"
BAR = 0.75


async def bench(rounds: int, seconds: float, connections: int) -> dict[str, Slices]:
    upstream = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        gateway, far = Gateway(Path(folder)), Path(tempfile.mkdtemp(dir=folder))
        identity = gateway.authority.write_identity(FAR, far)
        changed = asyncio.Event()
        door = Door(far, lambda: identity, lambda: ADDRESS, lambda: (port,), changed.set, asyncio.Lock())
        running = asyncio.create_task(door.run())
        try:
            await gateway.start()
            door.apply(DoorWish((HOST,)))
            while door.observed() != DoorObserved(ADDRESS, (port,)):
                await changed.wait()
                changed.clear()
            near, behind = Endpoint("near", "127.0.0.1", port), Endpoint("far", ADDRESS, port, host_id=FAR)
            services = tuple(
                ServiceRoute(name, (f"{name}.localhost",), False, (it,))
                for name, it in (("far", behind), ("near", near))
            )
            await gateway.control.publish(gateway.snapshot(near, services=services))
            url = f"http://127.0.0.1:{gateway.port}/"
            variants = {
                "loopback": Slices(url, ["Host: near.localhost"]),
                "direct, mutual TLS": Slices(url, ["Host: far.localhost"]),
            }
            envoy = supervisor.envoy_pid(gateway.run_dir)
            assert envoy is not None
            for _ in range(rounds):
                for slices in variants.values():
                    await measure(slices, envoy, seconds, connections)
        finally:
            running.cancel()
            await asyncio.to_thread(supervisor.stop, door_dir(far))
            await gateway.close()
            upstream.close()
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
        [*lines, f"bar: ratio >= {BAR} (median of the rounds'; CPU: of the gateway's Envoy, least of the rounds)"]
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
