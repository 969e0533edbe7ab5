"""A wire between two ends of TCP that a test can listen to, cut, and let fall silent."""

import asyncio
from contextlib import suppress


class Relay:
    """Takes connections on loopback and carries them to a port there."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.carried = bytearray()  # in both directions
        self.connections = 0  # that were made
        self._came = asyncio.Condition()
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> "Relay":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()

    async def until(self, connections: int) -> None:
        async with self._came:
            await self._came.wait_for(lambda: self.connections >= connections)

    def cut(self) -> None:
        """Every connection is reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    def silence(self) -> None:
        """What is sent does not arrive, and nobody is told, as when a cable is pulled; for what is connected now."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._came:
            self.connections += 1
            self._came.notify_all()
        flows = self._flows
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        both = [self._pump(reader, far_writer, flows), self._pump(far_reader, writer, flows)]
        tasks = [asyncio.create_task(it) for it in both]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, far_writer):
            each.transport.abort()
            self._writers.discard(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await flows.wait()
                self.carried += data
                writer.write(data)
                await writer.drain()
