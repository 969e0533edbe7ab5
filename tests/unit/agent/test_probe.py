import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from fakes.agent import container, replica
from homeport_agent.model import Probe
from homeport_agent.probe import Target, ask_http, ask_tcp, probe_until_cancelled, target_of

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[Target]:
    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = made.sockets[0].getsockname()[1]
    try:
        yield Target("127.0.0.1", port, 8000)
    finally:
        made.close()


def answering(status: str, seen: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n")
    await reader.read()
    writer.close()


async def closed_port() -> Target:
    async with server(silent) as target:
        return target


def test_the_container_is_dialled_itself_and_the_published_port_only_without_an_address() -> None:
    assert target_of(replica(), container()) == Target("172.17.0.9", 8000, 8000)
    assert target_of(replica(), container(ip="")) == Target("127.0.0.1", 32768, 8000)


async def test_a_port_that_nothing_listens_on_is_named_as_the_user_knows_it() -> None:
    assert await ask_tcp(await closed_port()) == "nothing listens on port 8000 yet (connection refused)"


async def test_a_port_that_accepts_is_fine() -> None:
    async with server(silent) as target:
        assert await ask_tcp(target) == ""


@pytest.mark.parametrize(
    ("status", "said"),
    [("200 OK", ""), ("204 No Content", ""), ("302 Found", "GET /h answered 302"), ("503 Busy", "GET /h answered 503")],
)
async def test_only_an_answer_of_the_two_hundreds_is_a_success(status: str, said: str) -> None:
    async with server(answering(status)) as target:
        assert await ask_http(target, Probe("/h")) == said


async def test_method_headers_and_body_are_sent() -> None:
    seen: list[bytes] = []
    async with server(answering("200 OK", seen)) as target:
        probe = Probe("/h?x=1", method="POST", headers=(("X-Token", "a\r\nX-Evil: 1"), ("Host", "me")), body="{}")
        assert await ask_http(target, probe) == ""
    head = seen[0].decode().split("\r\n")
    assert head[0] == "POST /h?x=1 HTTP/1.1"
    assert "X-Token: aX-Evil: 1" in head
    assert head.count("Host: me") == 1
    assert "Content-Length: 2" in head


async def test_an_answer_that_does_not_come_in_time_is_told() -> None:
    async with server(silent) as target:
        assert await ask_http(target, Probe("/h", timeout_s=0.1)) == "GET /h did not answer within 0.1 s"


async def test_what_does_not_speak_http_is_told() -> None:
    async with server(chatter) as target:
        assert await ask_http(target, Probe("/h")) == "GET /h on port 8000 did not answer in HTTP"


async def test_a_refused_http_probe_is_told_as_a_port_that_nothing_listens_on() -> None:
    assert "nothing listens on port 8000" in await ask_http(await closed_port(), Probe("/h"))


async def test_a_start_is_seen_within_a_fraction_of_a_second_and_probed_at_its_interval_afterwards() -> None:
    answers: list[tuple[int, bool, str]] = []
    told = asyncio.Event()

    async def no_ports(_: object) -> tuple[int, ...]:
        return ()

    def tell(number: int, is_ok: bool, message: str) -> None:
        answers.append((number, is_ok, message))
        told.set()

    async with server(answering("200 OK")) as target:
        assigned = replica(
            container_port=target.port, probes=(Probe("/a", interval_s=3600), Probe("/b", interval_s=3600))
        )
        work = asyncio.ensure_future(probe_until_cancelled(assigned, container(ip="127.0.0.1"), tell, no_ports))
        async with asyncio.timeout(5):
            while len(answers) < 2:
                told.clear()
                await told.wait()
        work.cancel()
        await asyncio.wait([work])
    assert sorted(answers) == [(0, True, ""), (1, True, "")]


async def test_a_container_that_listens_elsewhere_gets_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport_agent.probe.HINT_AFTER_S", 0.0)  # the pause before a hint, not a part of ours
    said: asyncio.Queue[str] = asyncio.Queue()

    async def ports(_: object) -> tuple[int, ...]:
        return (3000, 9090)

    target = await closed_port()
    work = asyncio.ensure_future(
        probe_until_cancelled(
            replica(container_port=target.port),
            container(ip="127.0.0.1"),
            lambda number, is_ok, message: said.put_nowait(message),
            ports,
        )
    )
    async with asyncio.timeout(5):
        message = await said.get()
    work.cancel()
    await asyncio.wait([work])
    assert message.endswith("(connection refused); the container listens on 3000, 9090, is `port` right?")
