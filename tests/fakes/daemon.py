"""A Docker daemon's socket that answers as a test says: for what a real one does only with a registry that fails.

Covers HTTP/1.1 over a Unix socket, one scripted answer per path.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeDaemon:
    socket: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # request line and headers
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, path: str, status: int, body: object) -> None:
        """Answer with one JSON document."""
        data = json.dumps(body).encode()

        async def whole(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status)
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
            await writer.drain()

        self.answers[path] = whole

    def stream(self, path: str, events: list[object], until_hung_up: bool = False) -> None:
        """Answer with status 200 and one JSON document per chunk; then end, or wait until the client hangs up."""

        async def chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for event in events:
                line = json.dumps(event).encode() + b"\r\n"
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()
            if until_hung_up:
                await reader.read(1)
                self.hung_up.set()
                raise ConnectionResetError
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        self.answers[path] = chunks

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(head)
                length = next((int(it.split(":")[1]) for it in head.lower().splitlines() if "content-length" in it), 0)
                await reader.readexactly(length)
                path = head.split()[1].split("?")[0]
                name = path if path == "/version" else "/" + path.split("/", 2)[2]
                if name not in self.answers:
                    self.answer(name, 404, {"message": f"no answer for {name}"})
                await self.answers[name](reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def fake_daemon(folder: Path) -> AsyncIterator[FakeDaemon]:
    daemon = FakeDaemon(folder / "docker.sock")
    daemon.answer("/version", 200, {"ApiVersion": "1.41", "Version": "20.10.24"})
    server = await asyncio.start_unix_server(daemon.serve, daemon.socket)
    try:
        yield daemon
    finally:
        server.close()
