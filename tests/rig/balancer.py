"""A TCP balancer as operators put before several servers: a few ports of one address to the same ports of others.

Takes one in turn of those that answer `/healthz`, and cuts what goes to one that does not any more. In a thread of its own.
"""

import asyncio
import itertools
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

CHECK_EVERY_S, CHECK_S = 0.5, 1.0
FAILURES = 3  # in a row, and it gets nothing more


class Balancer:
    def __init__(
        self, ports: Sequence[int], web_port: int, backends: Sequence[str], address: str = "127.0.0.1"
    ) -> None:
        self._ports, self._web_port, self._address = ports, web_port, address
        self._failures = dict.fromkeys(backends, 0)
        self._turns = itertools.count()
        self._writers: dict[str, set[asyncio.StreamWriter]] = {it: set() for it in backends}

    async def run(self, until: asyncio.Event, ready: threading.Event) -> None:
        servers = [
            await asyncio.start_server(lambda r, w, port=port: self._carry(r, w, port), self._address, port)  # type: ignore[misc]
            for port in self._ports
        ]
        ready.set()
        checks = [asyncio.create_task(self._check(it)) for it in self._failures]
        await until.wait()
        for task in checks:
            task.cancel()
        for server in servers:
            server.close()
        for backend in self._writers:
            self._cut(backend)

    async def _check(self, backend: str) -> None:
        while True:
            if await self._is_healthy(backend):
                self._failures[backend] = 0
            else:
                self._failures[backend] += 1
                if self._failures[backend] == FAILURES:  # once: should all seem dead, they are tried all the same
                    self._cut(backend)
            await asyncio.sleep(CHECK_EVERY_S)

    async def _is_healthy(self, backend: str) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(CHECK_S):
                reader, writer = await asyncio.open_connection(backend, self._web_port, ssl=context)
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                status = await reader.readline()
                writer.transport.abort()
        except OSError:
            return False
        return b" 200 " in status

    def _cut(self, backend: str) -> None:
        for writer in list(self._writers[backend]):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        names = list(self._failures)
        turn = next(self._turns)
        ordered = names[turn % len(names) :] + names[: turn % len(names)]
        for backend in sorted(ordered, key=lambda it: self._failures[it] >= FAILURES):
            with suppress(OSError):
                async with asyncio.timeout(CHECK_S):
                    far_reader, far_writer = await asyncio.open_connection(backend, port)
                break
        else:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers[backend] |= both
        tasks = [asyncio.create_task(_pump(reader, far_writer)), asyncio.create_task(_pump(far_reader, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for it in both:
            it.transport.abort()
        self._writers[backend] -= both


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@contextmanager
def balancing(ports: Sequence[int], web_port: int, backends: Sequence[str]) -> Iterator[None]:
    ready, stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def run() -> None:
        until = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=lambda: (stop.wait(), loop.call_soon_threadsafe(until.set)), daemon=True).start()
        try:
            await Balancer(ports, web_port, backends).run(until, ready)
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="balancer", daemon=True)
    thread.start()
    ready.wait(10)
    assert not failed, failed
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
