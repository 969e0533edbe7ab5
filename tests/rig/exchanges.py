"""One request of each kind over one connection, with its answer checked byte by byte (`answers` says what must come).

HTTP/1.1 is read by h11, which refuses what is cut or more than an answer. Raises `Wrong` with the reason. Does not decide
how many there are and when (load_client).
"""

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

import h11
from rig import answers
from rig.answers import Frames
from rig.load_results import Exchange, Wrong, difference

READ_BYTES = 1 << 16
CONNECT_S = 10.0
ECHO_S = 30.0
Headers: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service is: the gateway's port, the service's host name there, a token for it, the gateway's address."""

    port: int
    host: str
    token: str
    address: str = "127.0.0.1"


class Connection:
    """One kept connection; opened when there is none, and closed by whatever goes wrong on it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._io: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http = h11.Connection(h11.CLIENT)

    def close(self) -> None:
        if self._io is not None:
            self._io[1].close()
            self._io = None

    async def send(self, method: str, path: str, headers: Headers | None = None, body: bytes = b"") -> None:
        await self._open()
        assert self._io is not None
        writer = self._io[1]
        given: Headers = [("host", self._target.host), ("authorization", f"Bearer {self._target.token}")]
        given += headers or []
        if method == "POST":
            given.append(("content-length", str(len(body))))
        try:
            writer.write(self._http.send(h11.Request(method=method, target=path, headers=given)) or b"")
            if body:
                writer.write(self._http.send(h11.Data(data=body)) or b"")
            self._http.send(h11.EndOfMessage())
            await writer.drain()
        except ConnectionError:
            pass  # there may be an answer all the same, which says why

    async def head(self, exchange: Exchange) -> None:
        """Its status and headers. Of a 101 too."""
        while True:
            event = await self._next("closed before an answer")
            if isinstance(event, h11.Response | h11.InformationalResponse):
                exchange.status = event.status_code
                exchange.headers = {name.decode(): value.decode("latin1") for name, value in event.headers}
                if event.status_code != 100:
                    return

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, to its proper end."""
        while True:
            event = await self._next("cut: the connection ended within the answer")
            if isinstance(event, h11.EndOfMessage):
                break
            assert isinstance(event, h11.Data)
            yield bytes(event.data)
        if self._http.trailing_data[0]:
            self.close()
            raise Wrong("doubled: more than one answer")
        if self._http.their_state is h11.DONE and self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.close()

    def upgraded(self) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """After a 101: what came with it, and the connection."""
        assert self._io is not None
        return bytes(self._http.trailing_data[0]), *self._io

    async def _open(self) -> None:
        if self._io is not None and self._io[0].at_eof():
            self.close()  # between two requests the other side may end it
        if self._io is not None:
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                self._io = await asyncio.open_connection(self._target.address, self._target.port)
        except (OSError, TimeoutError) as error:
            raise Wrong(f"no connection: {type(error).__name__}") from None
        self._http = h11.Connection(h11.CLIENT)

    async def _next(self, ended: str) -> h11.Event:
        assert self._io is not None
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                gone = self._io[0].at_eof()
                raise Wrong(ended if gone else f"no HTTP: {error}") from None
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    raise Wrong(ended)
                assert not isinstance(event, type)
                return event
            try:
                data = await self._io[0].read(READ_BYTES)
            except ConnectionError:
                raise Wrong(f"{ended} (reset)") from None
            self._http.receive_data(data)


async def plain(connection: Connection, exchange: Exchange) -> None:
    """A GET, or a POST of a kilobyte when its number is odd."""
    ask = exchange.ask
    body = answers.upload_body(ask, 1024) if ask.number % 2 else b""
    await connection.send("POST" if body else "GET", f"/plain?{ask.query}", body=body)
    await _whole(connection, exchange, answers.plain(ask, body))


async def upload(connection: Connection, exchange: Exchange) -> None:
    ask = exchange.ask
    body = answers.upload_body(ask)
    await connection.send("POST", f"/upload?{ask.query}", body=body)
    await _whole(connection, exchange, answers.upload(ask, len(body), hashlib.sha256(body).hexdigest()))


async def events(connection: Connection, exchange: Exchange, *, lasts_s: float, pause_s: float) -> None:
    """A stream of so many seconds, an event each pause."""
    ask, count = exchange.ask, max(1, round(lasts_s / pause_s))
    begun_s = time.monotonic()
    await connection.send("GET", f"/events?{ask.query}&count={count}&pause_ms={round(pause_s * 1000)}")
    await connection.head(exchange)
    await _has_status(connection, exchange, 200)
    async for piece in connection.pieces():
        exchange.got += piece
        if exchange.first_answer_s is None:
            exchange.first_answer_s = time.monotonic() - begun_s
    _check(exchange, answers.events(ask, count))


async def socket(connection: Connection, exchange: Exchange, *, lasts_s: float, pause_s: float) -> None:
    """A websocket of so many seconds: a frame each pause, each answered before the next; closed by us, in peace."""
    ask, begun_s = exchange.ask, time.monotonic()
    key = base64.b64encode(os.urandom(16)).decode()
    headers = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
    await connection.send("GET", f"/socket?{ask.query}", [*headers, ("sec-websocket-key", key)])
    try:
        await connection.head(exchange)
        await _has_status(connection, exchange, 101)
        if exchange.headers.get("sec-websocket-accept") != answers.accept(key):
            raise Wrong("swapped: it accepts another websocket")
        data, reader, writer = connection.upgraded()
        incoming = _Incoming(reader, data)
        for number in range(max(1, round(lasts_s / pause_s))):
            said = answers.frame(ask, number)
            writer.write(answers.pack(answers.TEXT, said, os.urandom(4)))
            kind, exchange.got = await incoming.frame(ECHO_S)
            if kind == answers.CLOSE:
                raise Wrong("cut: the websocket was closed by the other side")
            _check(exchange, answers.echo(ask, said))
            if exchange.first_answer_s is None:
                exchange.first_answer_s = time.monotonic() - begun_s
            await asyncio.sleep(pause_s)
        bye = answers.NORMAL_CLOSE.to_bytes(2, "big")
        writer.write(answers.pack(answers.CLOSE, bye, os.urandom(4)))
        kind, exchange.got = await incoming.frame(ECHO_S)
        if (kind, exchange.got) != (answers.CLOSE, bye):
            raise Wrong("more than the answer: a frame instead of the close")
        await incoming.end(ECHO_S)
    finally:
        connection.close()


class _Incoming:
    """Frames of a websocket, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, data: bytes) -> None:
        self._reader, self._frames, self._came = reader, Frames(), data
        self._waiting: list[tuple[int, bytes]] = []

    async def frame(self, timeout_s: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._waiting:
                    data, self._came = self._came or await self._reader.read(READ_BYTES), b""
                    if not data:
                        raise Wrong("cut: the websocket ended without a close")
                    self._waiting = self._frames.take(data)
        except TimeoutError:
            raise Wrong("lost: no echo of a frame") from None
        except ConnectionError:
            raise Wrong("cut: the websocket was reset") from None
        except ValueError:
            raise Wrong("corrupted: no frame") from None
        return self._waiting.pop(0)

    async def end(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                left = self._waiting or self._frames.left or await self._reader.read(READ_BYTES)
        except (TimeoutError, ConnectionError):
            raise Wrong("the websocket did not end after its close") from None
        if left:
            raise Wrong("more than the answer: bytes after the close")


async def _whole(connection: Connection, exchange: Exchange, expected: bytes) -> None:
    await connection.head(exchange)
    await _has_status(connection, exchange, 200)
    async for piece in connection.pieces():
        exchange.got += piece
    _check(exchange, expected)


async def _has_status(connection: Connection, exchange: Exchange, wanted: int) -> None:
    if exchange.status == wanted:
        return
    if exchange.status != 101:
        async for piece in connection.pieces():
            exchange.got += piece
    raise Wrong(f"status {exchange.status}")


def _check(exchange: Exchange, expected: bytes) -> None:
    if wrong := difference(expected, exchange.got, exchange.ask):
        raise Wrong(wrong)
