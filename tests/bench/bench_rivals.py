"""Our gateway beside nginx, HAProxy, LiteLLM, sglang-router and vllm-router on the same work, and beside a bare route of Envoy.

    .venv/bin/python -P tests/bench/bench_rivals.py [--rounds N] [--slice-s S] [--cache FOLDER] [--only NAME,…]

Three kinds of work: a GET of 100 bytes; a chat completion of a 2 KB prompt that is routed by the body's `model`; a stream of
events, asked for in the same way where a proxy can. Each proxy has one worker and does what the table says besides; ours is
the real Envoy with the whole chain and 1001 tokens. Before anything is measured each shows that its way is right: the model
reaches its own upstream, and a wrong token is refused where it says that it knows tokens. Slices are interleaved, as other work
on the machine moves the absolute numbers: trust the CPU time first. Not a test: nothing is asserted of the numbers. Needs
`wrk`, pip and apt-get: rivals.py names the versions, which are installed into FOLDER (1 GB) and nowhere else.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_gateway import Fixed, cpu_s, end_streams, measure, open_stream, stream_us
from bench.rivals import RIVALS, NotHere, Rival, running
from bench.ways import CHUNK, MODELS, Upstream, Way, bare_route, ours, show_the_way
from rig.gateway import Gateway, envoy_binary
from rig.ports import free_port

EVENTS_TIMED = 200


async def delay_ms(way: Way) -> float:
    """From the upstream's write of an event to the caller's read of it, one event after another; the median."""
    reader, writer = await open_stream(way.port, *way.stream())
    (transport,) = Fixed.streams
    loop, took = asyncio.get_running_loop(), []
    began = loop.time()
    for _ in range(EVENTS_TIMED):
        await until(reader, b"data: ")
        took.append(loop.time() - began)
        began = loop.time()
        transport.write(CHUNK)  # type: ignore[attr-defined]
    end_streams()
    await until(reader, b"0\r\n\r\n")
    writer.close()
    return statistics.median(took) * 1000


async def until(reader: asyncio.StreamReader, sign: bytes) -> None:
    async with asyncio.timeout(10):
        while sign not in (data := await reader.read(65536)):
            assert data, "the stream ended early"


def rss_mib(pid: int) -> float:
    """Of the process and its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return (int(found[1]) if found else 0) / 1024 + sum(map(rss_mib, children))


async def bench(options: argparse.Namespace) -> tuple[list[Way], dict[str, str]]:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda m=m: Upstream(m), "127.0.0.1", 0) for m in MODELS]  # type: ignore[misc]
    models = {model: server.sockets[0].getsockname()[1] for model, server in zip(MODELS, servers, strict=True)}
    bare_port, missing = free_port(), dict[str, str]()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp")))
        for server in servers:
            stack.callback(server.close)
        gateway = Gateway(folder)
        stack.push_async_callback(gateway.close)
        stack.enter_context(bare_route(bare_port, models[MODELS[0]]))
        ways = await ours(gateway, bare_port, models)
        for way in ways:
            await show_the_way(way, way.name == "Homeport, by model", way.name == "Homeport, by model")
        for rival in RIVALS:
            if not options.only or rival.name in options.only.split(","):
                try:
                    ways.append(await theirs(rival, options.cache, folder, models, stack))
                except NotHere as error:
                    missing[rival.name] = str(error)
        for way in ways:
            way.prepare()
        for _ in range(options.rounds):
            await one_round(ways, options.slice_s)
        for way in ways:
            way.rss_mib = rss_mib(way.pid)
    return ways, missing


async def theirs(
    rival: Rival, cache: Path, folder: Path, models: dict[str, int], stack: contextlib.AsyncExitStack
) -> Way:
    it = await stack.enter_async_context(running(rival, cache, folder, models))
    name = f"{rival.name} {rival.version}"
    way = Way(
        name,
        it.port,
        it.pid,
        get=rival.get or None,
        chat=rival.chat,
        get_does=rival.get_does,
        chat_does=rival.chat_does,
    )
    try:
        await show_the_way(way, rival.chat, "token" in rival.chat_does)
    except (AssertionError, TimeoutError, OSError) as error:
        raise NotHere(f"it does not do the work: {error!r}") from error
    return way


async def one_round(ways: list[Way], seconds: int) -> None:
    for kind in ("gets", "chats"):
        for place, connections in enumerate((64, 1)):
            for way in ways:
                if slices := getattr(way, kind):
                    await measure(slices[place], way.pid, seconds, connections)
                    await until_idle(way.pid)
    for way in ways:
        path, headers, body = way.stream()
        used, arrived = await stream_us(way.port, path, headers, body, way.pid, seconds)
        way.events_us.append(used)
        way.arrived.append(arrived)
        await until_idle(way.pid)
        way.delays_ms.append(await delay_ms(way))


async def until_idle(pid: int) -> None:
    """What it still does for callers who have gone is not the next one's burden."""
    for _ in range(100):
        before = cpu_s(pid)
        await asyncio.sleep(0.2)
        if cpu_s(pid) - before < 0.02:
            return


def requests_table(title: str, kind: str, ways: list[Way], missing: dict[str, str]) -> list[str]:
    does = "get_does" if kind == "gets" else "chat_does"
    lines = [
        f"{title:24} {'rps':>7} {'/direct':>7} {'/bare':>6} {'CPU us':>7} {'p50 ms':>7} {'p99':>7} "
        f"{'1: p50':>7} {'p99':>6} {'CPU us':>7} {'MiB':>5} {'failed':>6}  does"
    ]
    direct, base = ways[:2]
    for way in ways:
        if not getattr(way, kind):
            if not way.name.startswith("Homeport"):
                lines.append(f"{way.name:24} {'—':>7}")
            continue
        many, one = getattr(way, kind)
        to_direct, to_base = (
            statistics.median(a / b for a, b in zip(many.rps, getattr(other, kind)[0].rps, strict=True))
            for other in (direct, base)
        )
        proxy = way is not direct
        lines.append(
            f"{way.name:24} {statistics.median(many.rps):7.0f} {to_direct:7.2f} {to_base:6.2f} "
            f"{f'{min(many.cpu_us):.0f}' if proxy else '—':>7} {statistics.median(many.p50_ms):7.2f} "
            f"{statistics.median(many.p99_ms):7.2f} {statistics.median(one.p50_ms):7.3f} "
            f"{statistics.median(one.p99_ms):6.2f} {f'{min(one.cpu_us):.0f}' if proxy else '—':>7} "
            f"{f'{way.rss_mib:.0f}' if proxy else '—':>5} {many.failed + one.failed:6}  {getattr(way, does)}"
        )
    return [*lines, *(f"{name:24} not here: {why}" for name, why in missing.items()), ""]


def events_table(ways: list[Way], missing: dict[str, str]) -> list[str]:
    direct, base = ways[:2]
    lines = [
        f"{'100 streams, 50/s each':24} {'us/event':>8} {'on top':>7} {'arrived':>7} {'delay ms':>8} {'added':>6}  how"
    ]
    for way in ways:
        cpu = f"{min(way.events_us):8.1f} {min(way.events_us) - min(base.events_us):7.1f}"
        delay = statistics.median(way.delays_ms)
        lines.append(
            f"{way.name:24} {cpu if way is not direct else f'{chr(8212):>8} {chr(8212):>7}'} "
            f"{statistics.median(way.arrived):7.0%} {delay:8.3f} {delay - statistics.median(direct.delays_ms):6.3f}  "
            f"{'POST' if way.chat else 'GET'}"
        )
    return [*lines, *(f"{name:24} not here: {why}" for name, why in missing.items()), ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice-s", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=caches / "homeport-tests" / "rivals")
    parser.add_argument("--only", default="", help="names of rivals, with commas")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("HOMEPORT_ENVOY_BINARY", str(envoy_binary()))
    ways, missing = asyncio.run(bench(options))
    lines = requests_table("GET 100 B", "gets", ways, missing)
    lines += requests_table("chat 2 KB, by model", "chats", ways, missing)
    lines += events_table(ways, missing)
    print("\n".join(lines))
    print(
        "rps, ratios, times: median of the rounds, at 64 connections and at 1; CPU: of the proxy's processes for each request\n"
        "or event, least of the rounds; MiB: RSS at the end; bare: a route of our Envoy without anything of ours; —: it cannot"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
