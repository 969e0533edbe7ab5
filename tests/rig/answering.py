"""A replica whose answers can be checked byte by byte (`answers` says which): an asyncio server of the standard library.

    python3 -m rig.answering            in a container: PORT (8000), START_AFTER_S (0), REVISION (any word)

Every answer names its revision and its replica in headers (`x-revision`, `x-replica`), so that the body follows from the
request alone. `GET /healthz` answers 200, 503 from `POST /sick` to `POST /well`. `POST /exit` ends it without an answer,
`POST /eat?bytes=N` takes so much memory.
SIGTERM: no new connections, what runs is finished (streams and websockets to their end), then exit 0. What ran when it
came is in the output: `answering: SIGTERM with N under way`.
"""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from rig import answers
from rig.answers import Ask, Frames

READ_BYTES = 1 << 16
IDLE_S = 600.0
ENDS = (ConnectionError, asyncio.IncompleteReadError)


class Request:
    """The head of one, and its body to be read."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        first, *lines = head.decode("latin1").split("\r\n")
        self.method, target, _ = first.split(" ", 2)
        url = urlsplit(target)
        self.path = url.path
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        self.ask = Ask(int(self.query.get("n", "0")), self.query.get("nonce", ""))
        self._reader = reader

    async def body(self) -> AsyncIterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                yield (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            piece = await self._reader.read(min(left, READ_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece


class Answering:
    """`start()`, and `finish()` for an end in peace. Its single answers are methods, for servers that answer wrongly."""

    def __init__(self, replica: str = "none", revision: str = "none") -> None:
        self.port = 0
        self.under_way = 0
        self._names = f"x-replica: {replica}\r\nx-revision: {revision}\r\n".encode()
        self._healthy, self._stopping = True, False
        self._eaten: list[bytearray] = []
        self._idle: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, address, port, backlog=1024)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def finish(self) -> None:
        """What runs goes on to its end; idle connections are hung up."""
        self._stopping = True
        self._server.close()
        for writer in tuple(self._idle):
            writer.close()
        if self._connections:
            await asyncio.wait(tuple(self._connections))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while not self._stopping:
                self._idle.add(writer)
                try:
                    async with asyncio.timeout(IDLE_S):
                        head = await reader.readuntil(b"\r\n\r\n")
                finally:
                    self._idle.discard(writer)
                self.under_way += 1
                try:
                    if not await self.answer(Request(head[:-4], reader), reader, writer):
                        break
                finally:
                    self.under_way -= 1
        except (*ENDS, TimeoutError):
            pass  # the other side is gone
        finally:
            self._connections.discard(task)
            writer.close()

    async def answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False: this was the connection's last one."""
        if request.path == "/events":
            await self._stream(request, writer)
            return True
        if request.path == "/socket":
            await self._socket(request, reader, writer)
            return False
        digest, length, kept = hashlib.sha256(), 0, b""
        async for piece in request.body():
            digest.update(piece)
            length += len(piece)
            kept = kept + piece if request.path == "/plain" else b""
        if request.path == "/upload":
            await self.send(writer, 200, self.upload(request.ask, length, digest.hexdigest()))
        elif request.path == "/plain":
            await self.send(writer, 200, self.plain(request.ask, kept))
        elif request.path == "/exit":
            os._exit(3)
        elif request.path == "/eat":
            self._eaten.append(bytearray(b"x") * int(request.query["bytes"]))
            await self.send(writer, 200, b"ok\n")
        elif request.path in {"/sick", "/well"}:
            self._healthy = request.path == "/well"
            await self.send(writer, 200, b"ok\n")
        else:
            ok = request.path != "/healthz" or self._healthy
            await self.send(writer, 200 if ok else 503, b"ok\n" if ok else b"sick\n")
        return True

    async def send(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        end = b"connection: close\r\n" if self._stopping else b""
        writer.write(b"HTTP/1.1 %d Answer\r\n%s%scontent-length: %d\r\n\r\n" % (status, self._names, end, len(body)))
        writer.write(body)
        await writer.drain()

    def plain(self, ask: Ask, body: bytes) -> bytes:
        return answers.plain(ask, body)

    def upload(self, ask: Ask, length: int, sha256: str) -> bytes:
        return answers.upload(ask, length, sha256)

    def event(self, ask: Ask, number: int, count: int) -> bytes:
        return answers.event(ask, number, count)

    def echo(self, ask: Ask, said: bytes) -> bytes:
        """The frame that answers another."""
        return answers.pack(answers.TEXT, answers.echo(ask, said))

    async def _stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(b"HTTP/1.1 200 Answer\r\n" + self._names + head)
        count, pause_s = int(request.query["count"]), float(request.query["pause_ms"]) / 1000
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        for number in range(count + 1):
            if piece := self.event(request.ask, number, count):
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            if number < count:
                await asyncio.sleep(max(0.0, begun_s + (number + 1) * pause_s - loop.time()))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _socket(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = answers.accept(request.headers["sec-websocket-key"]).encode()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" + self._names)
        writer.write(b"sec-websocket-accept: " + accepted + b"\r\n\r\n")
        frames = Frames()
        while data := await reader.read(READ_BYTES):
            for kind, content in frames.take(data):
                if kind == answers.TEXT:
                    writer.write(self.echo(request.ask, content))
                elif kind == answers.CLOSE:
                    writer.write(answers.pack(answers.CLOSE, content))
                    await writer.drain()
                    return
            await writer.drain()


async def main() -> None:
    await asyncio.sleep(float(os.environ.get("START_AFTER_S", "0")))
    serving = Answering(os.environ.get("HOMEPORT_REPLICA", "none"), os.environ.get("REVISION", "none"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serving.start("0.0.0.0", int(os.environ.get("PORT", "8000")))  # noqa: S104 (inside a container)
    print(f"answering: port {serving.port}", flush=True)
    await stop.wait()
    print(f"answering: SIGTERM with {serving.under_way} under way", flush=True)
    await serving.finish()
    print("answering: ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
