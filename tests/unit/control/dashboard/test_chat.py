"""chat: where a gateway is dialled, what comes back in pieces, and why not, in words."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from homeport_control.dashboard import chat
from homeport_control.dashboard.chat import NotAnswered, Where, answer

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
TOKEN = "secret"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class Gateway:
    """Takes one request and answers as the test says."""

    def __init__(self) -> None:
        self.request = ""
        self.answer: list[bytes] = []
        self.port = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.request = (head + await reader.readexactly(length)).decode()
        for piece in self.answer:
            writer.write(piece)
            await writer.drain()
        writer.close()

    @property
    def where(self) -> Where:
        return Where(f"http://gateway.localhost:{self.port}/v1")


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def said(gateway: Gateway, token: str = TOKEN) -> list[str]:
    return [it async for it in answer(gateway.where, token, "polly", [{"role": "user", "content": "hi"}], 99)]


def chunk(text: str, field: str = "content") -> bytes:
    return f"data: {json.dumps({'choices': [{'delta': {field: text}}]})}\n\n".encode()


async def test_pieces_come_as_they_are_said_however_they_are_cut(gateway: Gateway) -> None:
    whole = (
        chunk("Hé")
        + chunk("")
        + b": ping\n\ndata: {}\n\n"
        + chunk(" you", "reasoning_content")
        + b"data: [DONE]\n\ndata: x"
    )
    gateway.answer = [HEAD, *(whole[place : place + 7] for place in range(0, len(whole), 7))]
    assert await said(gateway) == ["Hé", " you"]
    assert "authorization: Bearer secret\r\n" in gateway.request.lower().replace("bearer", "Bearer")
    assert f"host: gateway.localhost:{gateway.port}\r\n" in gateway.request.lower()
    body = json.loads(gateway.request.split("\r\n\r\n", 1)[1])
    assert (body["model"], body["stream"], body["max_tokens"]) == ("polly", True, 99)


async def test_an_open_service_is_sent_no_token(gateway: Gateway) -> None:
    gateway.answer = [HEAD, b"data: [DONE]\n\n"]
    assert await said(gateway, "") == []
    assert "authorization" not in gateway.request.lower()


async def test_a_refusal_is_told_with_its_status(gateway: Gateway) -> None:
    body = b'{"error": {"message": "no such model"}}'
    gateway.answer = [b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body), body]
    with pytest.raises(NotAnswered, match="404: no such model") as caught:
        await said(gateway)
    assert caught.value.status == 404


async def test_an_error_in_the_middle_is_told(gateway: Gateway) -> None:
    gateway.answer = [HEAD, chunk("a"), b'data: {"error": {"message": "out of memory"}}\n\n']
    with pytest.raises(NotAnswered, match="the model says: out of memory"):
        await said(gateway)


async def test_an_endless_answer_is_cut(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MOST_ANSWER_BYTES", 1 << 20)
    gateway.answer = [HEAD, *(chunk("x" * 1000) for _ in range(1100))]
    with pytest.raises(NotAnswered, match="longer than 1 MB"):
        await said(gateway)
    gateway.answer = [HEAD, b"x" * 100_000]
    with pytest.raises(NotAnswered, match="is not a stream"):
        await said(gateway)


async def test_a_gateway_that_is_not_there_is_told(gateway: Gateway) -> None:
    nowhere = Where("http://gateway.localhost:9/v1")
    with pytest.raises(NotAnswered, match="this server cannot reach the gateway at http://gateway"):
        _ = [it async for it in answer(nowhere, "", "polly", [], 9)]


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("http://gateway.localhost:7480/v1", "http://127.0.0.1:7480/v1"),
        ("https://gateway.localhost/v1", "https://127.0.0.1/v1"),
        ("http://localhost.evil.example:80/v1", "http://localhost.evil.example:80/v1"),
        ("https://gateway.example.com/v1", "https://gateway.example.com/v1"),
    ],
)
def test_a_name_under_localhost_is_this_machine(url: str, dialled: str) -> None:
    assert Where(url).dialled == dialled
