"""One answer of a model, streamed through its gateway: what a client of the OpenAI API sends, and what comes back.

Covers dialling the gateway from this server, with its CA where its certificate is of its own, and bounds of size and time.
"""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

ANSWER_S, FIRST_BYTE_S, CONNECT_S = 300.0, 120.0, 5.0
MOST_ANSWER_BYTES = 1 << 20
MOST_EVENT_BYTES = 64 << 10
LOOPBACK = "127.0.0.1"


class NotAnswered(Exception):
    """Why there is no answer, in one line. `status`: of HTTP, 0 when none came."""

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Where:
    """A gateway's route to models: `url` as users are told it, "http://gateway.localhost:7480/v1"."""

    url: str
    ca_pem: str = ""  # of a gateway that signs its own; empty: the authorities that this machine trusts

    @property
    def dialled(self) -> str:
        """A name under localhost is this machine, whatever its resolver says (RFC 6761)."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if host != "localhost" and not host.endswith(".localhost"):
            return self.url
        return parts._replace(netloc=f"{LOOPBACK}:{parts.port}" if parts.port else LOOPBACK).geturl()

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def verify(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return False
        context = ssl.create_default_context()
        if self.ca_pem:
            context.load_verify_locations(cadata=self.ca_pem)
        return context


async def answer(
    where: Where, token: str, model: str, messages: Sequence[Mapping[str, str]], most_tokens: int
) -> AsyncIterator[str]:
    """Pieces of the text as they come. Raises NotAnswered."""
    headers = {"host": where.host, "accept": "text/event-stream"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    body = {"model": model, "messages": list(messages), "max_tokens": most_tokens, "stream": True}
    times = httpx.Timeout(CONNECT_S, read=FIRST_BYTE_S)
    extensions = {"sni_hostname": urlsplit(where.url).hostname or ""}
    try:
        async with (
            httpx.AsyncClient(verify=where.verify(), timeout=times, trust_env=False) as client,
            client.stream(
                "POST", f"{where.dialled}/chat/completions", json=body, headers=headers, extensions=extensions
            ) as response,
        ):
            if response.status_code != 200:
                raise NotAnswered(await _why(response), response.status_code)
            async for piece in _pieces(response):
                yield piece
    except (httpx.HTTPError, socket.gaierror, ssl.SSLError) as error:
        raise NotAnswered(
            f"this server cannot reach the gateway at {where.url}: {str(error) or type(error).__name__}; "
            "call it from a machine that can"
        ) from None


async def _pieces(response: httpx.Response) -> AsyncIterator[str]:
    left = MOST_ANSWER_BYTES
    async for line in _lines(response):
        left -= len(line)
        if left < 0:
            raise NotAnswered(f"the answer is longer than {MOST_ANSWER_BYTES >> 20} MB; the rest is not shown")
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        if text := _text(data):
            yield text


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Without keeping more than one event that is not whole yet."""
    rest = ""
    async for piece in response.aiter_text():
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line
        if len(rest) > MOST_EVENT_BYTES:
            raise NotAnswered("what the model sends is not a stream of server-sent events")
    yield rest


def _text(data: str) -> str:
    """Of one chunk; a model that thinks aloud says so in another field."""
    try:
        said: Any = json.loads(data)
        if said.get("error"):
            raise NotAnswered(f"the model says: {_message(said['error'])}")
        delta = said["choices"][0]["delta"]
        return str(delta.get("content") or delta.get("reasoning_content") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""


async def _why(response: httpx.Response) -> str:
    content = b""
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MOST_EVENT_BYTES:
            break
    try:
        words = _message(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        words = content[:300].decode(errors="replace").strip()
    return f"{response.status_code}: {words or response.reason_phrase}"


def _message(error: Any) -> str:
    return str(error.get("message") if isinstance(error, dict) else error)[:500]
