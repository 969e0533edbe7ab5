"""The ways of a request that bench_rivals.py compares: the upstream itself, a bare route, ours; each is shown to be right.

See also rivals.py: those of others.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import rivals
from bench.bench_gateway import EVENT, PROMPT, Fixed, Slices, bare
from homeport_agent.envoy import host as envoy_host
from homeport_agent.envoy import supervisor
from homeport_control.domain.gateway import Endpoint, PublishedModel, ServiceRoute, TokenGrant
from rig.gateway import TOKEN, Client, Gateway, sha256

MODELS = ("llama", "other")
CHAT = "/v1/chat/completions"
STREAMED = PROMPT.replace('"stream": false', '"stream": true')
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
# With a first event, as LiteLLM passes on no head before it has seen one.
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK
JSON_TYPE = "Content-Type: application/json"
DIRECT, BASE = "no proxy", "bare Envoy"


class Upstream(Fixed):
    """A model server: reads whole requests, streams where the body asks for it, and answers with its model's name."""

    def __init__(self, model: str) -> None:
        message = {"role": "assistant", "content": "hello world " * 40}
        answer = {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 80, "total_tokens": 480},
        }
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._answer = head % len(body) + body
        self._got = b""

    def data_received(self, data: bytes) -> None:
        if not self._got and data.startswith(b"GET /stream"):
            self._stream()
            return
        if not self._got and data.startswith(b"GET"):
            super().data_received(data)
            return
        self._got += data
        if not self._got.startswith(b"POST"):  # a router that asks whether it speaks gRPC
            self.transport.close()
            return
        head, _, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        self._got = b""
        if re.search(rb'"stream": ?true', body):
            self._stream()
        else:
            self.transport.write(self._answer)  # type: ignore[attr-defined]

    def _stream(self) -> None:
        self.transport.write(STREAM_HEAD)  # type: ignore[attr-defined]
        self.streams.add(self.transport)


@dataclass
class Way:
    """One proxy as it is called for each kind of work; None where it cannot do that."""

    name: str
    port: int
    pid: int
    host: str = "localhost"
    token: str = rivals.TOKEN
    get: str | None = "/"
    chat: bool = True
    get_does: str = ""
    chat_does: str = ""
    gets: list[Slices] = field(default_factory=list)  # at 64 connections, at 1
    chats: list[Slices] = field(default_factory=list)
    events_us: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    rss_mib: float = 0

    @property
    def headers(self) -> list[str]:
        return [f"Host: {self.host}", f"Authorization: Bearer {self.token}"]

    def stream(self) -> tuple[str, list[str], str]:
        if self.chat:
            return CHAT, [*self.headers, JSON_TYPE], STREAMED
        return "/stream", self.headers, ""

    def prepare(self) -> None:
        url = f"http://127.0.0.1:{self.port}"
        if self.get is not None:
            self.gets = [Slices(url + self.get, self.headers) for _ in range(2)]
        if self.chat:
            self.chats = [Slices(url + CHAT, [*self.headers, JSON_TYPE], PROMPT) for _ in range(2)]


async def show_the_way(way: Way, by_model: bool, refuses: bool) -> None:
    """That it does what is measured; the first tries may come too early, as some learn of their upstreams in the background."""
    client = Client(way.port)
    try:
        for model in MODELS if way.chat else ():
            body = PROMPT.replace('"llama"', f'"{model}"').encode()
            kind = {"content-type": "application/json"}
            got = await client.request(way.host, CHAT, token=way.token, method="POST", headers=kind, body=body)
            for _ in range(100):
                if got.status == 200:
                    break
                await asyncio.sleep(0.2)
                got = await client.request(way.host, CHAT, token=way.token, method="POST", headers=kind, body=body)
            assert got.status == 200, f"{way.name}: {got}"
            assert not by_model or got.json()["model"] == model, f"{way.name}: {model} was answered by {got.body!r}"
            got = await client.request(way.host, CHAT, token="wrong", method="POST", headers=kind, body=body)
            assert (got.status != 200) == refuses, f"{way.name}: a wrong token was answered {got.status}"
        if way.get is not None:
            got = await client.request(way.host, way.get, token=way.token)
            assert (got.status, len(got.body)) == (200, 100), f"{way.name}: {got}"
    finally:
        client.close()


@contextlib.contextmanager
def bare_route(port: int, upstream: int) -> Iterator[None]:
    """Envoys have meanwhile a bare route beside ours."""
    real = envoy_host.bootstrap

    def with_bare_route(*arguments: object) -> dict[str, object]:
        document = real(*arguments)  # type: ignore[arg-type]
        for kind, entries in bare(port, upstream).items():
            document["static_resources"].setdefault(kind, []).extend(entries)
        return document

    envoy_host.bootstrap = with_bare_route  # type: ignore[assignment]
    try:
        yield
    finally:
        envoy_host.bootstrap = real


async def ours(gateway: Gateway, bare_port: int, models: dict[str, int]) -> list[Way]:
    await gateway.start()
    tokens = [TokenGrant(sha256(TOKEN))]
    tokens += [TokenGrant(hashlib.sha256(str(n).encode()).hexdigest()) for n in range(1000)]
    ends = {model: Endpoint("r", "127.0.0.1", port) for model, port in models.items()}
    services = [ServiceRoute("open", ("open.localhost",), False, (ends[MODELS[0]],))]
    services += [ServiceRoute(m, (f"{m}.localhost",), True, (end,), PublishedModel(m)) for m, end in ends.items()]
    await gateway.control.publish(
        gateway.snapshot(ends[MODELS[0]], tokens=tuple(tokens), services=tuple(sorted(services, key=lambda s: s.name)))
    )
    pid = supervisor.envoy_pid(gateway.run_dir)
    assert pid is not None
    every = "1001 token hashes, who may call what, log"
    return [
        Way(DIRECT, models[MODELS[0]], pid),
        Way(BASE, bare_port, pid),
        Way("Homeport, auth: false", gateway.port, pid, "open.localhost", TOKEN, chat=False, get_does="log"),
        Way("Homeport, token", gateway.port, pid, "hello.localhost", TOKEN, chat=False, get_does=every),
        Way(
            "Homeport, by model",
            gateway.port,
            pid,
            "gateway.localhost",
            TOKEN,
            None,
            chat_does=f"{every}, model, usage",
        ),
    ]
