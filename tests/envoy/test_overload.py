"""More than an Envoy may take: it refuses what is new, what is under way goes on, and it is there again when there is room."""

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import AsyncIterator

import psutil
import pytest
from homeport_agent.envoy import admin, limits, supervisor
from homeport_control.domain.gateway import PublishedModel, ServiceRoute
from rig.gateway import TOKEN, Client, Gateway, read_body, read_head, replicas

pytestmark = pytest.mark.envoy

HEAP = 160 << 20
LIMIT, COMERS = 2000, 5000  # as 50,000 and 125,000, with the files that a process may open


@pytest.fixture
async def small(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway with little memory."""
    monkeypatch.setattr(limits, "heap_bytes", lambda memory_bytes: HEAP)
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()
    return gateway


@pytest.fixture
async def narrow(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """A gateway that takes few connections, and files enough for those who come."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most[1], most[1]))
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", LIMIT)
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()
    yield gateway
    resource.setrlimit(resource.RLIMIT_NOFILE, most)


class Slow(asyncio.Protocol):
    """A caller that sends half a head and waits: a slow loris. `lost` counts those that were closed."""

    def __init__(self, lost: Counter[str], changed: asyncio.Event) -> None:
        self._lost, self._changed = lost, changed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"GET / HTTP/1.1\r\nhost: hello.localhost\r\nx-a: ")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost["all"] += 1
        self._changed.set()


async def test_thousands_who_send_half_a_head_are_refused_above_the_limit_and_the_gateway_lives(
    narrow: Gateway,
) -> None:
    async with replicas("a") as (a,):
        await narrow.control.publish(narrow.snapshot(a.endpoint()))
        assert (await narrow.client.request()).status == 200
        pid = await asyncio.to_thread(supervisor.envoy_pid, narrow.run_dir)
        assert pid is not None
        before = psutil.Process(pid).memory_info().rss
        lost, changed, there = Counter[str](), asyncio.Event(), []
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            for _ in range(COMERS):
                with contextlib.suppress(ConnectionError):
                    transport, _ = await loop.create_connection(lambda: Slow(lost, changed), "127.0.0.1", narrow.port)
                    there.append(transport)
            while lost["all"] < len(there) - LIMIT:
                changed.clear()
                await changed.wait()
        assert (await narrow.client.request()).status == 200, "who was there before is served"
        assert await asyncio.to_thread(admin.look, narrow.run_dir) is not None, "its host sees it"
        assert psutil.Process(pid).memory_info().rss - before < LIMIT * (64 << 10)
        for transport in there:
            transport.abort()
        async with asyncio.timeout(20):
            while True:
                newcomer = Client(narrow.port)
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    assert (await newcomer.request()).status == 200
                    break
        newcomer.close()
        assert await asyncio.to_thread(supervisor.envoy_pid, narrow.run_dir) == pid, "it has not died"


@contextlib.asynccontextmanager
async def bodies(gateway: Gateway, count: int) -> AsyncIterator[None]:
    """So many bodies of 31 MiB that the gateway must keep, and that never end."""
    head = f"POST /v1/completions HTTP/1.1\r\nhost: gateway.localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(count)]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"{head}content-length: {32 << 20}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(31):
                writer.write(b"x" * (1 << 20))
                await writer.drain()

    tasks = [asyncio.create_task(write(writer)) for _, writer in opened]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in opened:
            writer.close()


async def test_a_gateway_without_memory_refuses_in_words_and_ends_what_is_under_way(small: Gateway) -> None:
    async with replicas("a") as (a,):
        model = ServiceRoute("llm", ("llm.localhost",), True, (a.endpoint(),), PublishedModel("llama"))
        await small.control.publish(small.snapshot(a.endpoint(), services=(model,)))
        pid = await asyncio.to_thread(supervisor.envoy_pid, small.run_dir)
        stream = Client(small.port)
        reader = await stream.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        _, status, headers = await read_head(reader)
        assert status == "200"
        assert (await small.client.request()).status == 200
        async with bodies(small, 8), asyncio.timeout(30):
            while (answer := await small.client.request()).status == 200:
                pass
            assert (answer.status, answer.json()["error"]["code"]) == (503, "gateway_overloaded")  # type: ignore[index]
            assert await asyncio.to_thread(admin.look, small.run_dir) is not None, "its host sees it"
            a.release.set()
            assert await read_body(reader, headers) == b"firstlast"
        stream.close()
        async with asyncio.timeout(30):
            while (await small.client.request()).status != 200:
                pass
        assert await asyncio.to_thread(supervisor.envoy_pid, small.run_dir) == pid, "it has not died"
