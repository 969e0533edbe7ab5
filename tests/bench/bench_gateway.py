"""What the gateway's chain costs: requests per second against a bare route of the same Envoy, and time per streamed event.

The chain is whole: token, access log, and for models the body read, its service chosen and the answer's usage counted.

    .venv/bin/python -P tests/bench/bench_gateway.py [--rounds N] [--slice-s S] [--connections N]

Prints a table with ratios; slices are interleaved, as other work on the machine moves the absolute numbers by a third.
Not a test: nothing is asserted. Needs `wrk`.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from homeport_agent.envoy import host as envoy_host
from homeport_agent.envoy import supervisor
from homeport_control.domain.gateway import Endpoint, PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds.access_log import ACCESS_LOGS
from rig.gateway import TOKEN, Gateway, envoy_binary, sha256
from rig.ports import free_port

BARS = """bars: token auth >= 0.85, whole chain (model, 2 KB prompt) >= 0.65 of the bare route's requests per second
      p50 at one connection: + <= 0.1 ms and <= 0.2 ms; first byte by model: + <= 0.3 ms (1 KB) and <= 10 ms (256 KB)
      <= 12 us on top per event"""
STREAMS, EVENTS_PER_S = 100, 50
EVENT = b"""data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"llama",\
"choices":[{"index":0,"delta":{"content":"word"}}],"usage":null}\n\n"""
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
BODY = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n" + b"x" * 100
ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": "hello world " * 40}}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 80},
    }
).encode()
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
PROMPT = json.dumps(
    {"messages": [{"role": "user", "content": "hello world " * 160}], "stream": False, "model": "llama"}
)

PROMPT_OF = '{"messages":[{"role":"user","content":"%s"}],"model":"llama-2"}'
PROMPTS = {"1 KB": 1 << 10, "256 KB": 256 << 10}


class Fixed(asyncio.Protocol):
    """As little of an upstream as possible: an answer for each head of a request; to `/stream` events without an end."""

    streams: set[asyncio.BaseTransport] = set()  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.awaited = 0  # bytes of a body: as a model, it answers when the prompt is there

    def data_received(self, data: bytes) -> None:
        if self.awaited:
            self.awaited -= len(data)
            if self.awaited <= 0:
                self.awaited = 0
                self.transport.write(JSON)  # type: ignore[attr-defined]
            return
        if data.startswith(b"POST") and (length := re.search(rb"content-length: (\d+)", data, re.IGNORECASE)):
            self.awaited = max(0, int(length[1]) - (len(data) - data.index(b"\r\n\r\n") - 4))
            if self.awaited:
                return
        answer = JSON if data.startswith(b"POST") else BODY
        if b"/stream" in data[:100]:
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self.streams.add(self.transport)
        self.transport.write(answer * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]

    def connection_lost(self, _: Exception | None) -> None:
        self.streams.discard(self.transport)


@dataclass
class Slices:
    url: str
    headers: list[str]
    body: str = ""
    against: str = "bare route"
    rps: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)  # p50 at one connection
    failed: int = 0


def bare(port: int, logged_port: int, upstream: int) -> dict[str, Any]:
    """The same Envoy without anything of ours: a listener, a route, a router; at the second port with our access log."""
    one, other = _bare(port, upstream), _bare(logged_port, upstream)
    (listener,) = other["listeners"]
    listener["name"] = "bare, logged"
    listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = ACCESS_LOGS
    return {"listeners": [*one["listeners"], listener], "clusters": one["clusters"]}


def _bare(port: int, upstream: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    prefix = "type.googleapis.com/envoy.extensions.filters"
    return {
        "listeners": [
            {
                "name": "bare",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "hcm",
                                "typed_config": {
                                    "@type": f"{prefix}.network.http_connection_manager.v3.HttpConnectionManager",
                                    "stat_prefix": "bare",
                                    "route_config": {
                                        "virtual_hosts": [
                                            {
                                                "name": "all",
                                                "domains": ["*"],
                                                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "bare/up"}}],
                                            }
                                        ]
                                    },
                                    "http_filters": [
                                        {
                                            "name": "router",
                                            "typed_config": {"@type": f"{prefix}.http.router.v3.Router"},
                                        }
                                    ],
                                },
                            }
                        ]
                    }
                ],
            }
        ],
        "clusters": [
            {
                "name": "bare/up",
                "type": "STATIC",
                "circuit_breakers": {"thresholds": [{"max_connections": 10000, "max_pending_requests": 10000}]},
                "load_assignment": {
                    "cluster_name": "bare/up",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                },
            }
        ],
    }


def cpu_s(pid: int) -> float:
    """CPU time of all threads and children; the scheduler counts nanoseconds, psutil hundredths of a second."""
    used = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        used += int((thread / "schedstat").read_text().split()[0]) / 1e9
        used += sum(cpu_s(int(child)) for child in (thread / "children").read_text().split())
    return used


async def measure(slices: Slices, envoy: int, seconds: float, connections: int) -> None:
    before = cpu_s(envoy)
    headers = [word for header in slices.headers for word in ("-H", header)]
    script: list[str] = []
    lua = Path(tempfile.gettempdir()) / f"hp-bench-{os.getpid()}.lua"
    if slices.body:
        lua.write_text(f'wrk.method = "POST"\nwrk.body = [==[{slices.body}]==]\n')
        script = ["-s", str(lua)]
    wrk = await asyncio.create_subprocess_exec(
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "30s",
        *headers,
        *script,
        slices.url,
        stdout=asyncio.subprocess.PIPE,
    )
    text = (await wrk.communicate())[0].decode()
    lua.unlink(missing_ok=True)
    requests = int(find(r"(\d+) requests in", text))
    if connections == 1:
        slices.alone_ms.append(milliseconds(find(r"\n +50% +(\S+)", text)))
        return
    slices.rps.append(float(find(r"Requests/sec:\s+([\d.]+)", text)))
    slices.p50_ms.append(milliseconds(find(r"\n +50% +(\S+)", text)))
    slices.p99_ms.append(milliseconds(find(r"\n +99% +(\S+)", text)))
    slices.cpu_us.append((cpu_s(envoy) - before) / max(requests, 1) * 1e6)
    slices.failed += int(find(r"Non-2xx or 3xx responses: (\d+)", text) or 0)
    slices.failed += sum(map(int, re.findall(r" (?:connect|read|write|timeout) (\d+)", text)))


async def first_byte_ms(port: int, host: str, prompt_bytes: int, requests: int = 40) -> float:
    """Median from the first byte of a request to the first of its answer, one after the other on one connection."""
    body = PROMPT_OF % ("x" * prompt_bytes)
    lines = ["POST /v1/completions HTTP/1.1", host, f"Authorization: Bearer {TOKEN}", f"content-length: {len(body)}"]
    request = "\r\n".join([*lines, "", body]).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop, taken = asyncio.get_running_loop(), []
    for _ in range(requests):
        began = loop.time()
        writer.write(request)
        head = await asyncio.wait_for(reader.read(1), 10)
        taken.append((loop.time() - began) * 1000)
        head += await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        await reader.readexactly(len(ANSWER))
    writer.close()
    return statistics.median(taken)


async def stream_us(
    port: int, path: str, headers: list[str], body: str, pid: int, seconds: float
) -> tuple[float, float]:
    """The proxy's CPU time per event of STREAMS streams with EVENTS_PER_S each, and the share that arrived meanwhile."""
    connections = [await open_stream(port, path, headers, body) for _ in range(STREAMS)]
    chunk = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    arrived = [0]
    readers = [asyncio.create_task(drain(reader, arrived)) for reader, _ in connections]
    await asyncio.sleep(0.2)  # what opening them cost and brought is not of the events
    arrived[0] = sent = 0
    before = cpu_s(pid)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for tick in range(int(seconds * EVENTS_PER_S)):
        for transport in list(Fixed.streams):
            transport.write(chunk)  # type: ignore[attr-defined]
            sent += 1
        await asyncio.sleep(max(0.0, began + (tick + 1) / EVENTS_PER_S - loop.time()))
    used, events = cpu_s(pid) - before, arrived[0]
    end_streams()
    await asyncio.wait(readers, timeout=20)
    for task, (_, writer) in zip(readers, connections, strict=True):
        task.cancel()
        writer.close()
    await asyncio.gather(*readers, return_exceptions=True)
    return used / max(events, 1) * 1e6, events / max(sent, 1)


async def open_stream(
    port: int, path: str, headers: list[str], body: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", *headers, f"content-length: {len(body)}", "", body]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join(lines).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b" 200 " in head, head
    return reader, writer


def end_streams() -> None:
    """All of them end as a server ends them, so that nobody takes it for a failure."""
    for transport in list(Fixed.streams):
        transport.write(LAST)  # type: ignore[attr-defined]
        Fixed.streams.discard(transport)


async def drain(reader: asyncio.StreamReader, arrived: list[int]) -> None:
    kept = b""
    while (data := await reader.read(65536)) and not data.endswith(b"0\r\n\r\n"):
        arrived[0] += (kept + data).count(b"data: ")
        kept = data[-5:]


def find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "0"


def milliseconds(text: str) -> float:
    number = float(re.sub(r"[a-z]+", "", text))
    return number / 1000 if text.endswith("us") else number if text.endswith("ms") else number * 1000


Found = tuple[dict[str, Slices], dict[str, list[float]], dict[str, list[tuple[float, float]]]]


async def bench(rounds: int, seconds: float, connections: int) -> Found:
    """Slices, microseconds per event, and first bytes of the bare route and by model."""
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(Fixed, "127.0.0.1", 0)
    upstream_port = upstream.sockets[0].getsockname()[1]
    bare_port, logged_port = free_port(), free_port()
    real = envoy_host.bootstrap

    def with_bare_route(*arguments: Any) -> dict[str, Any]:
        document = real(*arguments)
        for kind, entries in bare(bare_port, logged_port, upstream_port).items():
            document["static_resources"].setdefault(kind, []).extend(entries)
        return document

    envoy_host.bootstrap = with_bare_route  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        gateway = Gateway(Path(folder))
        try:
            await gateway.start()
            tokens = [TokenGrant(sha256(TOKEN))]
            tokens += [TokenGrant(hashlib.sha256(str(n).encode()).hexdigest()) for n in range(1000)]
            endpoint = Endpoint("r", "127.0.0.1", upstream_port)
            open_service = ServiceRoute("open", ("open.localhost",), False, (endpoint,))
            llm = ServiceRoute("llm", ("llm.localhost",), True, (endpoint,), PublishedModel("llama", "/stream"))
            model = ServiceRoute("model", ("model.localhost",), True, (endpoint,), PublishedModel("llama-2", weight=1))
            named = PROMPT.replace('"llama"', '"llama-2"')
            services = (llm, model, open_service)
            await gateway.control.publish(gateway.snapshot(endpoint, tokens=tuple(tokens), services=services))
            ours = f"http://127.0.0.1:{gateway.port}/"
            host, authorization = "Host: hello.localhost", f"Authorization: Bearer {TOKEN}"
            variants = {
                "bare route": Slices(f"http://127.0.0.1:{bare_port}/", [host, authorization]),
                "bare route, our access log": Slices(f"http://127.0.0.1:{logged_port}/", [host, authorization]),
                "our chain, auth: false": Slices(ours, ["Host: open.localhost", authorization]),
                "token auth (1001 tokens)": Slices(ours, [host, authorization]),
                "bare route, 2 KB POST": Slices(f"http://127.0.0.1:{bare_port}/v1/completions", [host], named),
                "token auth, 2 KB POST": Slices(ours, [host, authorization], named, "bare route, 2 KB POST"),
                "whole chain, by model": Slices(
                    f"{ours}v1/completions", ["Host: gateway.localhost", authorization], named, "bare route, 2 KB POST"
                ),
            }
            envoy = supervisor.envoy_pid(gateway.run_dir)
            assert envoy is not None
            for _ in range(rounds):
                for slices in variants.values():
                    await measure(slices, envoy, seconds, connections)
                    await measure(slices, envoy, 1, 1)
            first: dict[str, list[tuple[float, float]]] = {name: [] for name in PROMPTS}
            for _ in range(rounds):
                for name, size in PROMPTS.items():
                    plain = await first_byte_ms(bare_port, host, size)
                    first[name].append((plain, await first_byte_ms(gateway.port, "Host: gateway.localhost", size)))
            events: dict[str, list[float]] = {"bare route": [], "token auth": [], "whole chain, by model": []}
            for _ in range(rounds):
                for name, values in events.items():
                    where = bare_port if name == "bare route" else gateway.port
                    by_model = name == "whole chain, by model"
                    path, body = ("/v1/completions", PROMPT) if by_model else ("/stream", "")
                    hosts = ["Host: gateway.localhost" if by_model else host, authorization]
                    values.append((await stream_us(where, path, hosts, body, envoy, seconds))[0])
        finally:
            await gateway.close()
            upstream.close()
    return variants, events, first


def table(
    variants: dict[str, Slices], events: dict[str, list[float]], first: dict[str, list[tuple[float, float]]]
) -> str:
    lines = [
        f"{'':28} {'rps':>8} {'ratio':>6} {'best/best':>9} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7} {'failed':>6}"
        f" {'1 conn. p50':>11} {'on top':>6}"
    ]
    for name, slices in variants.items():
        base = variants[slices.against]
        pairs = [ours / theirs for ours, theirs in zip(slices.rps, base.rps, strict=True)]
        lines.append(
            f"{name:28} {statistics.median(slices.rps):8.0f} {statistics.median(pairs):6.2f} "
            f"{max(slices.rps) / max(base.rps):9.2f} {statistics.median(slices.p50_ms):7.2f} "
            f"{statistics.median(slices.p99_ms):7.2f} {min(slices.cpu_us):7.1f} {slices.failed:6}"
            f" {statistics.median(slices.alone_ms):11.3f} {on_top(slices.alone_ms, base.alone_ms):6.3f}"
        )
    token, logged = variants["token auth (1001 tokens)"], variants["bare route, our access log"]
    ratio = statistics.median(ours / theirs for ours, theirs in zip(token.rps, logged.rps, strict=True))
    lines.append(f"token auth against the bare route with the same access log: {ratio:.2f}")
    for name, both in first.items():
        plain, ours = [it[0] for it in both], [it[1] for it in both]
        lines.append(
            f"first byte, {name} prompt: {statistics.median(plain):.2f} ms bare, {statistics.median(ours):.2f} ms by model,"
            f" {on_top(ours, plain):.2f} ms on top"
        )
    lines.append(f"{'':28} {'us/event':>8} {'on top':>6}   ({STREAMS} streams with {EVENTS_PER_S} events/s each)")
    least = min(events["bare route"])
    lines += [f"{name:28} {min(values):8.1f} {min(values) - least:6.1f}" for name, values in events.items()]
    return "\n".join([*lines, f"{BARS} (median of the rounds' ratios; CPU: Envoy's, least of the rounds)"])


def on_top(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(one - other for one, other in zip(ours, theirs, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice-s", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed", file=sys.stderr)
        return 1
    os.environ.setdefault("HOMEPORT_ENVOY_BINARY", str(envoy_binary()))
    variants, events, first = asyncio.run(bench(options.rounds, options.slice_s, options.connections))
    found = {name: vars(s) for name, s in variants.items()} | {"events_us": events, "first_byte_ms": first}
    print(json.dumps(found) if options.json else table(variants, events, first))
    return 0


if __name__ == "__main__":
    sys.exit(main())
