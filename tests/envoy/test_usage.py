"""Token usage of answers, read by Envoy as they pass: JSON and streams, whole and in pieces, and what does not count."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from homeport_control.domain.gateway import Endpoint, PublishedModel, ServiceRoute, TokenGrant
from rig.gateway import TOKEN, Client, Gateway, read_body, read_head, sha256

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
EVENT = b'data: {"choices":[{"delta":{"content":"say \\"usage\\": {\\"prompt_tokens\\": 1}"}}],"usage":null}\n\n'
LAST = (
    b'data: {"choices":[],"usage":{"prompt_tokens":21,"prompt_tokens_details":{"cached_tokens":3},'
    b'"total_tokens":55,"completion_tokens":34}}\n\n'
)
DONE = b"data: [DONE]\n\n"


class Scripted:
    """A server whose next answer the test writes: pieces, each sent when the one before it has arrived at the client."""

    def __init__(self) -> None:
        self.kind = "application/json"
        self.pieces: list[bytes] = []
        self.extra = ""
        self.has_length = False  # says it instead of sending chunks
        self.got: dict[str, str] = {}
        self.go = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                _, _, self.got = await read_head(reader)
                await read_body(reader, self.got)
                length = f"content-length: {sum(map(len, self.pieces))}"
                framing = length if self.has_length else "transfer-encoding: chunked"
                head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.kind}\r\n{self.extra}{framing}\r\n\r\n"
                writer.write(head.encode())
                for piece in self.pieces:
                    writer.write(piece if self.has_length else f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    await writer.drain()
                    await self.go.acquire()
                if not self.has_length:
                    writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def server(gateway: Gateway) -> AsyncIterator[Scripted]:
    made = Scripted()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    endpoint = Endpoint("r1", "127.0.0.1", listening.sockets[0].getsockname()[1])
    llm = ServiceRoute("llm", ("llm.localhost",), True, (endpoint,), PublishedModel("llama"))
    free = ServiceRoute("free", ("free.localhost",), False, (endpoint,), PublishedModel("open"))
    tokens = (TokenGrant(sha256(TOKEN), (), "tok1"),)
    await gateway.control.publish(gateway.snapshot(endpoint, services=(llm, free), tokens=tokens))
    yield made
    listening.close()


async def ask(
    gateway: Gateway,
    server: Scripted,
    *pieces: bytes,
    host: str = "gateway.localhost",
    path: str = CHAT,
    model: str = "llama",
) -> bytes:
    """Each piece must have come through before the next one is sent; the answer must come as it was sent."""
    server.pieces, got = list(pieces), b""
    headers = {"authorization": f"Bearer {TOKEN}", "accept-encoding": "gzip"}
    client = Client(gateway.port)
    async with asyncio.timeout(10):
        reader = await client.send("POST", path, host, headers, json.dumps({"model": model}).encode())
        _, status, _ = await read_head(reader)
        assert status == "200"
        sent = b""
        for piece in pieces:
            sent += piece
            if server.has_length:
                got += await reader.readexactly(len(piece))
            while len(got) < len(sent):
                size = int(await reader.readline(), 16)
                got += (await reader.readexactly(size + 2))[:-2]
            assert got == sent
            server.go.release()
        if not server.has_length:
            assert await reader.readexactly(5) == b"0\r\n\r\n"
    client.close()
    return got


async def used(gateway: Gateway, count: int = 1) -> tuple[Any, Any]:
    line = (await gateway.access(count))[-1]
    return line["prompt_tokens"], line["completion_tokens"]


def stream(server: Scripted) -> None:
    server.kind = "text/event-stream; charset=utf-8"


async def test_json_whole_and_cut_anywhere(gateway: Gateway, server: Scripted) -> None:
    answer = json.dumps(
        {"choices": [{"message": {"content": 'x "usage": {"prompt_tokens": 9}' * 20}}], "usage": {
            "prompt_tokens": 1234, "total_tokens": 1300, "completion_tokens": 66}}
    ).encode()  # fmt: skip
    at = answer.rindex(b'"usage"')
    cuts = [None, at, at + 4, at + 7, at + 9, at + 25, at + 28, at + 60, len(answer) - 3]
    for number, cut in enumerate(cuts, 1):
        await ask(gateway, server, *([answer] if cut is None else [answer[:cut], answer[cut:]]))
        assert await used(gateway, number) == (1234, 66), cut
    server.has_length = True
    for number, cut in enumerate((None, at + 4, at + 28, len(answer) - 1), len(cuts) + 1):
        await ask(gateway, server, *([answer] if cut is None else [answer[:cut], answer[cut:]]))
        assert await used(gateway, number) == (1234, 66), cut
    assert (await gateway.access(1))[0]["model"] == "llama"
    assert "accept-encoding" not in server.got  # a packed answer could not be read


async def test_a_stream_says_it_in_its_last_event_and_each_event_passes_at_once(
    gateway: Gateway, server: Scripted
) -> None:
    stream(server)
    await ask(gateway, server, *[EVENT] * 5, LAST, DONE)
    assert await used(gateway) == (21, 34)
    whole = LAST + DONE
    for number, cut in enumerate((3, 20, 40, len(LAST) - 8, len(LAST) + 3), 2):
        await ask(gateway, server, EVENT, whole[:cut], whole[cut:])
        assert await used(gateway, number) == (21, 34), cut


async def test_an_embedding_of_many_megabytes_has_its_usage_at_its_end(gateway: Gateway, server: Scripted) -> None:
    numbers = b",".join([b"0.123456789"] * 500_000)
    answer = b'{"data":[{"embedding":[' + numbers + b']}],"usage":{"prompt_tokens":8,"total_tokens":8}}'
    await ask(gateway, server, answer, path="/v1/embeddings")
    assert await used(gateway) == (8, None)


async def test_other_words_for_it_and_continuous_numbers(gateway: Gateway, server: Scripted) -> None:
    await ask(gateway, server, b'{"usage": {"input_tokens": 3, "output_tokens": 4}}', path="/v1/responses")
    assert await used(gateway) == (3, 4)
    stream(server)
    events = [b'data: {"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % number for number in range(1, 4)]
    await ask(gateway, server, *events)
    assert await used(gateway, 2) == (5, 3)
    # A client that goes in the middle: what was said until then stands.
    server.pieces = events
    client = Client(gateway.port)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with asyncio.timeout(10):
        reader = await client.send("POST", CHAT, "gateway.localhost", headers, b'{"model":"llama"}')
        await read_head(reader)
        await reader.readuntil(b'"completion_tokens":1')
    client.close()
    server.go.release()
    line = (await gateway.access(3))[-1]
    assert line["flags"] == "DC"
    assert (line["prompt_tokens"], line["completion_tokens"]) in {(5, 1), (5, 2)}


async def test_a_service_called_by_its_own_address_counts_too_and_one_without_a_model_does_not(
    gateway: Gateway, server: Scripted
) -> None:
    answer = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    for host in ("llm.localhost", "free.localhost", "hello.localhost"):
        await ask(gateway, server, answer, host=host)
    lines = await gateway.access(3)
    keys = ("service", "token", "model", "prompt_tokens", "completion_tokens")
    assert [tuple(line[key] for key in keys) for line in lines] == [
        ("llm", "tok1", "llama", 1, 2),
        ("free", None, "open", 1, 2),
        ("hello", "tok1", None, None, None),
    ]
    assert server.got["accept-encoding"] == "gzip"  # an application's own business


async def test_what_is_no_usage_costs_nobody_an_answer(gateway: Gateway, server: Scripted) -> None:
    nonsense = [
        b'{"usage":',
        b'{"usage":{}}',
        b'{"usage":{"prompt_tokens":"many"}}',
        b'"usage"' * 1000,
        b'{"usage":{"prompt_tokens":' + b"9" * 400 + b"}}",
        b"\xff\x00" * 500,
    ]
    for number, body in enumerate(nonsense, 1):
        await ask(gateway, server, body)
        assert await used(gateway, number) == (None, None)
    server.extra = "content-encoding: gzip\r\n"
    await ask(gateway, server, b'{"usage":{"prompt_tokens":1}}')
    assert await used(gateway, len(nonsense) + 1) == (None, None)
