"""HTTP/2 that may be read in two ways once it is HTTP/1.1 to a replica, and HTTP/2 that only costs."""

import asyncio
import contextlib

import pytest
from homeport_control.domain.gateway import TokenGrant
from rig.gateway import TOKEN, Gateway, replicas, sha256
from rig.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Pairs,
    block,
    frame,
    request,
    send,
)

pytestmark = pytest.mark.envoy

METHOD, SCHEME = (b":method", b"POST"), (b":scheme", b"http")
AUTHORITY, PATH = (b":authority", b"hello.localhost"), (b":path", b"/")
TOKEN_HEADER = (b"authorization", f"Bearer {TOKEN}".encode())
GOOD: Pairs = [METHOD, SCHEME, AUTHORITY, PATH, TOKEN_HEADER]
INNER = b"GET /smuggled HTTP/1.1\r\nhost: hello.localhost\r\n\r\n"


def head(*more: tuple[bytes, bytes], without: tuple[bytes, bytes] | None = None) -> Pairs:
    return [*(pair for pair in GOOD if pair != without), *more]


def other(pseudo: tuple[bytes, bytes], value: bytes) -> Pairs:
    return [(name, value) if name == pseudo[0] else (name, old) for name, old in GOOD]


# Each must end in a refusal with nothing at a replica.
REQUESTS: dict[str, bytes] = {
    "a length that is too short": request(1, head((b"content-length", b"1")), b"G" + INNER),
    "a length that is too long": request(1, head((b"content-length", b"99")), b"short"),
    "two lengths that differ": request(1, head((b"content-length", b"5"), (b"content-length", b"6")), b"hello"),
    "a length that is none": request(1, head((b"content-length", b"+5")), b"hello"),
    "chunked": request(1, head((b"transfer-encoding", b"chunked")), b"0\r\n\r\n" + INNER),
    "a connection header": request(1, head((b"connection", b"keep-alive, x-a"))),
    "a capital in a header's name": request(1, head((b"X-A", b"b"))),
    "a line end in a header's value": request(1, head((b"x-a", b"b\r\ntransfer-encoding: chunked")), INNER),
    "a lone line feed in a header's value": request(1, head((b"x-a", b"b\ncontent-length: 0")), INNER),
    "a NUL in a header's value": request(1, head((b"x-a", b"b\x00c"))),
    "a line end in a header's name": request(1, head((b"x-a: b\r\nc", b"d"))),
    "a blank in a header's name": request(1, head((b"x a", b"b"))),
    "a colon in a header's name": request(1, head((b"x:a", b"b"))),
    "a header without a name": request(1, head((b"", b"b"))),
    "no method": request(1, head(without=METHOD)),
    "no path": request(1, head(without=PATH)),
    "no scheme": request(1, head(without=SCHEME)),
    "two paths": request(1, head(PATH)),
    "two methods": request(1, head(METHOD)),
    "a pseudo header that is none": request(1, [*GOOD[:4], (b":status", b"200"), TOKEN_HEADER]),
    "a pseudo header after others": request(1, [METHOD, SCHEME, AUTHORITY, TOKEN_HEADER, PATH]),
    "a request in the method": request(1, other(METHOD, b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET")),
    "a blank in the method": request(1, other(METHOD, b"GET /smuggled")),
    "a line end in the path": request(1, other(PATH, b"/ HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled")),
    "a blank in the path": request(1, other(PATH, b"/ HTTP/1.1")),
    "an empty path": request(1, other(PATH, b"")),
    "a line end in the host": request(1, other(AUTHORITY, b"hello.localhost\r\nx: y")),
    "a blank in the host": request(1, other(AUTHORITY, b"hello.localhost x")),
    "data before headers": frame(DATA, END_STREAM, 1, b"hello"),
    "headers on no stream": frame(HEADERS, END_HEADERS | END_STREAM, 0, block(GOOD)),
    "a stream that only a server opens": request(2, GOOD),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, block(GOOD)),
    "headers cut by another frame": frame(HEADERS, END_STREAM, 1, block(GOOD)) + frame(PING, 0, 0, b"x" * 8),
    "a header block that is none": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 40),
    "a frame that is too long": frame(DATA, 0, 1, b"x" * 20_000),
    "a window that grows by nothing": frame(HEADERS, END_HEADERS, 1, block(GOOD))
    + frame(WINDOW_UPDATE, 0, 1, bytes(4)),
    "settings of half an entry": frame(SETTINGS, 0, 0, b"\x00\x04\x00"),
}


async def test_what_may_be_read_in_two_ways_is_refused_and_reaches_no_replica(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), tokens=(TokenGrant(sha256(TOKEN)),)))
        # Envoy lets a broken connection linger for a second: all at once.
        answers = await asyncio.gather(*(send(gateway.port, data) for data in REQUESTS.values()))
        found = dict(zip(REQUESTS, answers, strict=True))
        refused = {name for name, it in found.items() if it.status == 400 or it.ended}
        assert refused == set(REQUESTS), found
        assert {it.status for it in answers} <= {0, 400}, found
        assert a.served == 0
        assert (await gateway.client.request()).status == 200


async def test_a_request_by_hand_that_is_right_is_answered(gateway: Gateway) -> None:
    """Else the others would prove nothing."""
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        answer = await send(gateway.port, request(1, GOOD, b"hello"))
        assert (answer.status, a.served) == (200, 1)
        assert b'"body_bytes": 5' in answer.body


FLOODS: dict[str, bytes] = {
    "streams that are opened and reset": b"".join(
        frame(HEADERS, END_HEADERS, stream, block(GOOD)) + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))
        for stream in range(1, 4001, 2)
    ),
    "headers that never end": frame(HEADERS, 0, 1, block(GOOD))
    + frame(CONTINUATION, 0, 1, block([(b"x-a", b"y" * 8000)])) * 2000,
    "pings": frame(PING, 0, 0, b"x" * 8) * 50_000,
    "settings": frame(SETTINGS, 0, 0) * 50_000,
    "empty data": frame(HEADERS, END_HEADERS, 1, block(GOOD)) + frame(DATA, 0, 1) * 50_000,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_own_connection_and_nothing_else(gateway: Gateway, name: str) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)

        async def flood() -> None:
            with contextlib.suppress(ConnectionError):
                writer.write(PREFACE + frame(SETTINGS, 0, 0) + FLOODS[name])
                await writer.drain()

        flooding = asyncio.create_task(flood())
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    assert (await gateway.client.request()).status == 200, "others are served meanwhile"
        await flooding
        writer.close()
        assert (await gateway.client.request()).status == 200
