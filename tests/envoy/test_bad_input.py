"""Malformed, smuggled, slow and endless input, from callers and from replicas: what is answered, and who is not reached."""

import asyncio
import contextlib
import json

import pytest
from homeport_agent.envoy import admin, limits, supervisor
from homeport_control.domain.gateway import Endpoint, ServiceRoute, TokenGrant
from homeport_control.xds import listener
from rig.gateway import TOKEN, Client, Gateway, replicas, sha256

pytestmark = pytest.mark.envoy

AUTH = f"authorization: Bearer {TOKEN}\r\n"
HOST = "host: hello.localhost\r\n"
POST = f"POST / HTTP/1.1\r\n{HOST}{AUTH}"
CHUNKED = "transfer-encoding: chunked\r\n"
INNER = f"GET /smuggled HTTP/1.1\r\n{HOST}{AUTH}\r\n"

# Each must end in 400 (or another refusal of the gateway's own) with nothing at a replica.
SMUGGLING: dict[str, str] = {
    "length and chunked": f"{POST}content-length: 6\r\n{CHUNKED}\r\n0\r\n\r\nX",
    "chunked and length": f"{POST}{CHUNKED}content-length: 6\r\n\r\n0\r\n\r\nX",
    "two lengths that differ": f"{POST}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "two lengths in one line": f"{POST}content-length: 5, 6\r\n\r\nhello!",
    "a length with a sign": f"{POST}content-length: +5\r\n\r\nhello",
    "a negative length": f"{POST}content-length: -5\r\n\r\nhello",
    "a length in hex": f"{POST}content-length: 0x5\r\n\r\nhello",
    "a length that is none": f"{POST}content-length: five\r\n\r\nhello",
    "a length beyond all numbers": f"{POST}content-length: 99999999999999999999999\r\n\r\nhello",
    "chunked is not the last coding": f"{POST}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an unknown coding": f"{POST}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": f"{POST}{CHUNKED}{CHUNKED}\r\n0\r\n\r\n",
    "a blank before the colon": f"{POST}transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a control character in the coding": f"{POST}transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a chunk size with a sign": f"{POST}{CHUNKED}\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size that is none": f"{POST}{CHUNKED}\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond all numbers": f"{POST}{CHUNKED}\r\nfffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer than it says": f"{POST}{CHUNKED}\r\n3\r\nhello\r\n0\r\n\r\n",
    "a header without a name": f"GET / HTTP/1.1\r\n{HOST}{AUTH}: b\r\n\r\n",
    "a header without a colon": f"GET / HTTP/1.1\r\n{HOST}{AUTH}nothing\r\n\r\n",
    "a blank in a header's name": f"GET / HTTP/1.1\r\n{HOST}{AUTH}x a: b\r\n\r\n",
    "a NUL in a header's value": f"GET / HTTP/1.1\r\n{HOST}{AUTH}x-a: b\x00c\r\n\r\n",
    "no host": f"GET / HTTP/1.1\r\n{AUTH}\r\n",
    "two hosts": f"GET / HTTP/1.1\r\n{HOST}host: other.localhost\r\n{AUTH}\r\n",
    "a host with a blank": f"GET / HTTP/1.1\r\nhost: hello.localhost x\r\n{AUTH}\r\n",
    "no version": f"GET /\r\n{HOST}{AUTH}\r\n",
    "a version that is none": f"GET / HTTP/9.9\r\n{HOST}{AUTH}\r\n",
    "a blank in the path": f"GET /a b HTTP/1.1\r\n{HOST}{AUTH}\r\n",
    "no method": f" / HTTP/1.1\r\n{HOST}{AUTH}\r\n",
    "a method that is none": f"GE\x00T / HTTP/1.1\r\n{HOST}{AUTH}\r\n",
    "TLS where there is none": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "A" * 100,
    "nothing but noise": "\x00\xff" * 200 + "\r\n\r\n",
    "a request in the body of a GET with two lengths": (
        f"GET / HTTP/1.1\r\n{HOST}{AUTH}content-length: 0\r\ncontent-length: {len(INNER)}\r\n\r\n{INNER}"
    ),
    "connect": f"CONNECT hello.localhost:80 HTTP/1.1\r\n{HOST}{AUTH}\r\n",
}


# Refused in another way that is as good.
OTHERWISE = {
    "chunked is not the last coding": (b"501",),
    "an unknown coding": (b"501",),
    "chunked twice": (b"501",),
    "two hosts": (b"404",),
    "no version": (b"426",),
    "a version that is none": (b"426",),
    "connect": (b"403", b"404"),
}


async def raw(gateway: Gateway, data: bytes, timeout_s: float = 10) -> bytes:
    """All that comes back until the gateway closes the connection, or answers and stays."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(data)
        async with asyncio.timeout(timeout_s):
            return await reader.read(65536)
    finally:
        writer.close()


@pytest.mark.parametrize("name", SMUGGLING)
async def test_what_may_be_read_in_two_ways_is_refused_and_reaches_no_replica(gateway: Gateway, name: str) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), tokens=(TokenGrant(sha256(TOKEN)),)))
        answer = await raw(gateway, SMUGGLING[name].encode("latin1"))
        status = answer.split(b" ")[1]
        assert status in {b"400", *OTHERWISE.get(name, ())}, answer[:300]
        assert a.served == 0, answer[:300]
        assert (await gateway.client.request()).status == 200


@pytest.mark.parametrize("header", ["x-a: b\r\n c", "x-a: b\rc: d", "x-a: b\r\n\tc: d"])
async def test_what_is_mended_reaches_a_replica_as_one_clean_header(gateway: Gateway, header: str) -> None:
    """RFC 9112 lets a proxy mend these (5.2, 2.2); what matters is that nobody behind it reads two headers."""
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        answer = await raw(gateway, f"GET / HTTP/1.1\r\n{HOST}{AUTH}{header}\r\n\r\n".encode())
        assert answer.split(b" ")[1] == b"200"
        assert a.served == 1
        seen = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
        assert "c" not in seen
        assert not set(seen["x-a"]) & set("\r\n")


async def test_refusals_of_malformed_requests_are_json_too(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot())
    for data, status, code in (
        (f"GET / HTTP/1.1\r\n{HOST}{AUTH}nothing\r\n\r\n", b"400", "bad_request"),
        (f"GET / HTTP/1.1\r\n{HOST}{AUTH}x: {'y' * 70_000}\r\n\r\n", b"431", "headers_too_large"),
        (
            f"GET / HTTP/1.1\r\n{HOST}{AUTH}" + "".join(f"x{n}: y\r\n" for n in range(200)) + "\r\n",
            b"431",
            "headers_too_large",
        ),
    ):
        head, _, body = (await raw(gateway, data.encode())).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == status
        assert json.loads(body)["error"]["code"] == code


async def test_headers_that_never_end_are_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that sends a byte now and then holds its connection for no longer than the listener says (here 1 s)."""
    monkeypatch.setitem(listener._CONNECTION_MANAGER, "request_headers_timeout", "1s")
    listener.listener.cache_clear()
    try:
        async with replicas("a") as (a,):
            await gateway.control.publish(gateway.snapshot(a.endpoint()))
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(f"GET / HTTP/1.1\r\n{HOST}{AUTH}x: ".encode())
            got = asyncio.create_task(reader.read(1000))
            async with asyncio.timeout(10):
                while not got.done():
                    writer.write(b"y")
                    await asyncio.wait([got], timeout=0.1)
            assert got.result().split(b" ")[1] == b"408"
            writer.close()
            assert (await gateway.client.request()).status == 200
            assert a.served == 1
    finally:
        listener.listener.cache_clear()


async def test_more_connections_than_there_may_be_are_closed_and_those_that_are_there_go_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 50)
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert (await gateway.client.request()).status == 200
        opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(500)]
        closed = [reader for reader, _ in opened if reader.at_eof()]
        async with asyncio.timeout(20):
            while len(closed) < 450:
                waiting = [asyncio.ensure_future(reader.read(1)) for reader, _ in opened if not reader.at_eof()]
                await asyncio.wait(waiting, timeout=0.2)
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                closed = [reader for reader, _ in opened if reader.at_eof() or reader.exception()]
        assert (await gateway.client.request()).status == 200, "who was there before is served"
        assert await asyncio.to_thread(admin.look, gateway.run_dir) is not None, "and its host sees it"
        for _, writer in opened:
            writer.close()
        async with asyncio.timeout(20):
            while True:
                newcomer = Client(gateway.port)
                try:
                    assert (await newcomer.request()).status == 200
                    break
                except (asyncio.IncompleteReadError, ConnectionError):
                    await asyncio.sleep(0.05)
                finally:
                    newcomer.close()


# What a replica may send instead of an answer; with what its caller is told.
ANSWERS: dict[str, tuple[bytes, int, str]] = {
    "noise": (b"\x00\xff" * 300 + b"\r\n\r\n", 502, "replica_answer_invalid"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 502, "replica_answer_invalid"),
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 502, "replica_answer_invalid",
    ),
    "two lengths that differ": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", 502, "replica_answer_invalid",
    ),
    "headers too large": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 502, "replica_answer_invalid"),
    "headers too many": (
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(2000)) + b"\r\n", 502, "replica_answer_invalid",
    ),
    "nothing, and closes": (b"", 503, "replica_failed"),
    "half a head, and closes": (b"HTTP/1.1 200 OK\r\nx: y", 502, "replica_answer_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_replica_that_answers_nonsense_is_told_in_words_and_harms_no_other(gateway: Gateway, name: str) -> None:
    data, status, code = ANSWERS[name]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    mad = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        endpoint = Endpoint("mad", "127.0.0.1", mad.sockets[0].getsockname()[1])
        async with replicas("a") as (a,):
            other = ServiceRoute("other", ("other.localhost",), True, (a.endpoint(),))
            await gateway.control.publish(gateway.snapshot(endpoint, services=(other,)))
            answer = await gateway.client.request(method="POST")
            assert (answer.status, answer.json()["error"]["code"]) == (status, code)  # type: ignore[index]
            assert (await gateway.client.request("other.localhost")).status == 200
    finally:
        mad.close()


async def test_a_replica_whose_headers_never_end_is_cut_off(gateway: Gateway) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x-%d: %b\r\n" % (sent, b"y" * 1000))
                sent += 1
                await writer.drain()
        writer.close()

    endless = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await gateway.control.publish(gateway.snapshot(Endpoint("e", "127.0.0.1", endless.sockets[0].getsockname()[1])))
        answer = await gateway.client.request(method="POST")
        assert (answer.status, answer.json()["error"]["code"]) == (502, "replica_answer_invalid")  # type: ignore[index]
        assert sent < 100_000
    finally:
        endless.close()
