"""The load client sees what it is for: answers that are lost, cut, doubled, swapped or corrupted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from rig import answers
from rig.answering import Answering, Request
from rig.answers import Ask, Frames
from rig.load_client import Flow, Kind, LoadClient, Results, Target, loading
from rig.load_results import KEPT_FAILURES

COUNT = 4
OTHER = Ask(999, "feedfeedfeedfeed")


@asynccontextmanager
async def started(server: Answering) -> AsyncIterator[Answering]:
    await server.start()
    try:
        yield server
    finally:
        await asyncio.wait_for(server.finish(), 10)


async def ask(server: Answering, kind: Kind, count: int = COUNT, timeout_s: float = 20) -> Results:
    flow = Flow(kind, workers=2, rate_per_s=1000, count=count, timeout_s=timeout_s, longest_s=0.1, pause_s=0.01)
    client = LoadClient(Target(server.port, "web.localhost", "hp_token"), [flow])
    await asyncio.wait_for(client.run(), 30)
    return client.results


@pytest.mark.parametrize("kind", list(Kind))
async def test_right_answers_are_ok(kind: Kind) -> None:
    async with started(Answering("0", "7")) as server:
        results = await ask(server, kind)
    assert results.failures == []
    tally = results.tallies[kind]
    assert (tally.sent, tally.ok, tally.unanswered, results.not_ok) == (COUNT, COUNT, 0, 0)
    assert results.revisions == {"7": COUNT}
    assert tally.quantile_ms(0.5) <= tally.quantile_ms(0.99) <= tally.quantile_ms(1.0)


class Spoiled(Answering):
    """Every answer's bytes go through a function."""

    def __init__(self, spoil: Callable[[Ask, bytes], bytes]) -> None:
        super().__init__()
        self.spoil = spoil

    def plain(self, ask: Ask, body: bytes) -> bytes:
        return self.spoil(ask, super().plain(ask, body))

    def upload(self, ask: Ask, length: int, sha256: str) -> bytes:
        return self.spoil(ask, super().upload(ask, length, sha256))

    def echo(self, ask: Ask, said: bytes) -> bytes:
        return answers.pack(answers.TEXT, self.spoil(ask, answers.echo(ask, said)))


SPOILED: dict[str, Callable[[Ask, bytes], bytes]] = {
    "cut: it ends too early": lambda ask, body: body[:-1],
    "an empty answer": lambda ask, body: b"",
    "doubled": lambda ask, body: body + body,
    "more than the answer": lambda ask, body: body + b"!",
    "corrupted: other bytes": lambda ask, body: body[:-3] + bytes([body[-3] ^ 1]) + body[-2:],
    "swapped: it answers another request": lambda ask, body: body.replace(ask.query.encode(), OTHER.query.encode()),
}


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.UPLOAD, Kind.SOCKET])
@pytest.mark.parametrize("reason", list(SPOILED))
async def test_a_body_or_frame_that_is_not_the_right_one_is_seen(kind: Kind, reason: str) -> None:
    async with started(Spoiled(SPOILED[reason])) as server:
        results = await ask(server, kind)
    assert results.tallies[kind].failed == {reason: COUNT}


class SpoiledEvents(Answering):
    """Event 3 of each stream goes through a function; the connection may break off at it."""

    def __init__(self, spoil: Callable[[Ask, int], bytes]) -> None:
        super().__init__()
        self.spoil = spoil

    def event(self, ask: Ask, number: int, count: int) -> bytes:
        return self.spoil(ask, number) if number in {1, 2} else super().event(ask, number, count)


def _event(ask: Ask, number: int) -> bytes:
    return answers.event(ask, number, 99)


EVENTS: dict[str, Callable[[Ask, int], bytes]] = {
    "lost: an event is missing": lambda ask, n: b"" if n == 1 else _event(ask, n),
    "doubled: an event came twice": lambda ask, n: _event(ask, n) * 2,
    "swapped: events out of order": lambda ask, n: _event(ask, 3 - n),
    "swapped: it answers another request": lambda ask, n: _event(OTHER, n),
    "corrupted: other bytes": lambda ask, n: _event(ask, n).replace(b"event: word", b"event: ward"),
}


@pytest.mark.parametrize("reason", list(EVENTS))
async def test_a_stream_with_wrong_events_is_seen(reason: str) -> None:
    async with started(SpoiledEvents(EVENTS[reason])) as server:
        flow = Flow(Kind.EVENTS, 2, 1000, count=COUNT, longest_s=0.1, pause_s=0.002)
        client = LoadClient(Target(server.port, "web.localhost", "hp_token"), [flow])
        await asyncio.wait_for(client.run(), 30)
    assert client.results.tallies[Kind.EVENTS].failed == {reason: COUNT}


Raw = Callable[[Request, asyncio.StreamWriter], None]


class Rude(Answering):
    """Answers with bytes of its own, and ends the connection."""

    def __init__(self, raw: Raw, *, hold: bool = False) -> None:
        super().__init__()
        self.raw, self.hold = raw, hold

    async def answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async for _ in request.body():
            pass
        self.raw(request, writer)
        await writer.drain()
        if self.hold:
            await reader.read(1)  # until the client has had enough
        return False


def _say(text: bytes) -> Raw:
    return lambda request, writer: writer.write(text)


def _whole(request: Request) -> bytes:
    body = answers.plain(request.ask, answers.upload_body(request.ask, 1024) if request.method == "POST" else b"")
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _handshake(then: bytes) -> Raw:
    def raw(request: Request, writer: asyncio.StreamWriter) -> None:
        accepted = answers.accept(request.headers["sec-websocket-key"]).encode()
        writer.write(
            b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: " + accepted
        )
        writer.write(b"\r\n\r\n" + then)

    return raw


RUDE: dict[str, tuple[Kind, Raw]] = {
    "closed before an answer": (Kind.PLAIN, _say(b"")),
    "cut: the connection ended within the answer": (Kind.PLAIN, lambda r, w: w.write(_whole(r)[:-1])),
    "doubled: more than one answer": (Kind.PLAIN, lambda r, w: w.write(_whole(r) * 2)),
    "status 503": (Kind.PLAIN, _say(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno")),
    "no HTTP: illegal status line: bytearray(b'SSH-2.0')": (Kind.PLAIN, _say(b"SSH-2.0\r\n\r\n")),
    "cut: the connection ended within the answer (stream)": (
        Kind.EVENTS,
        lambda r, w: w.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nid: 0\r\n"),
    ),
    "status 404": (Kind.SOCKET, _say(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")),
    "cut: the websocket ended without a close": (Kind.SOCKET, _handshake(b"")),
    "cut: the websocket was closed by the other side": (Kind.SOCKET, _handshake(b"\x88\x02\x03\xe9")),
    "corrupted: no frame": (Kind.SOCKET, _handshake(b"\x01\x01x")),
    "swapped: it accepts another websocket": (
        Kind.SOCKET,
        _say(b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"),
    ),
}


@pytest.mark.parametrize("name", list(RUDE))
async def test_a_connection_that_goes_wrong_is_seen(name: str) -> None:
    kind, raw = RUDE[name]
    async with started(Rude(raw)) as server:
        results = await ask(server, kind)
    assert results.tallies[kind].failed == {name.removesuffix(" (stream)"): COUNT}


async def test_an_answer_that_never_comes_is_lost() -> None:
    async with started(Rude(_say(b""), hold=True)) as server:
        results = await ask(server, Kind.PLAIN, timeout_s=0.2)
    assert results.tallies[Kind.PLAIN].failed == {"lost: no answer in time": COUNT}


async def test_nobody_there_is_a_failure() -> None:
    async with started(Answering()) as server:
        pass
    results = await ask(server, Kind.PLAIN)
    assert results.tallies[Kind.PLAIN].failed == {"no connection: ConnectionRefusedError": COUNT}


async def test_answers_that_change_places_on_a_kept_connection_are_seen() -> None:
    """An extra answer that comes late is taken for the next request's, which it is not."""

    class Late(Answering):
        last: Request | None = None

        async def answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            async for _ in request.body():
                pass
            writer.write(_whole(self.last or request))
            self.last = request
            return True

    async with started(Late()) as server:
        client = LoadClient(Target(server.port, "web", "t"), [Flow(Kind.PLAIN, 1, 1000, count=3)])
        await asyncio.wait_for(client.run(), 30)
    assert client.results.tallies[Kind.PLAIN].failed == {"swapped: it answers another request": 2}


async def test_a_failure_keeps_its_detail_and_only_the_first_ones_are_kept() -> None:
    async with started(Spoiled(SPOILED["cut: it ends too early"])) as server:
        results = await ask(server, Kind.PLAIN, KEPT_FAILURES + 10)
    assert results.not_ok == KEPT_FAILURES + 10
    assert len(results.failures) == KEPT_FAILURES
    failure = results.failures[0]
    assert (failure.status, failure.kind, failure.headers["x-replica"]) == (200, Kind.PLAIN, "none")
    assert failure.got_bytes == int(failure.headers["content-length"])
    assert f"plain {failure.number} ({failure.nonce})" in results.table()
    assert "30 cut: it ends too early" in results.table()


async def test_a_server_that_finishes_ends_what_runs_and_takes_nothing_new() -> None:
    server = Answering()
    await server.start()
    flow = Flow(Kind.EVENTS, 1, 1000, count=1, longest_s=2.0, pause_s=0.02)
    stream = LoadClient(Target(server.port, "web", "t"), [flow])
    running = asyncio.create_task(stream.run())
    async with asyncio.timeout(10):
        while not server.under_way:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0)
        await server.finish()
        await running
    assert stream.results.not_ok == 0
    assert (await ask(server, Kind.PLAIN)).not_ok == COUNT


async def test_the_rate_is_kept() -> None:
    async with started(Answering()) as server:
        begun_s = asyncio.get_running_loop().time()
        flow = Flow(Kind.PLAIN, workers=8, rate_per_s=50, count=20)
        await LoadClient(Target(server.port, "web", "t"), [flow]).run()
        assert asyncio.get_running_loop().time() - begun_s >= 19 / 50


async def test_it_runs_beside_a_block_that_blocks() -> None:
    async with started(Answering()) as server:

        def block() -> LoadClient:
            with loading(Target(server.port, "web", "t"), [Flow(Kind.PLAIN, 2, 200)]) as client:
                client.more(20)
            return client

        client = await asyncio.to_thread(block)
    assert client.results.not_ok == 0
    assert client.results.tallies[Kind.PLAIN].ok >= 20


def test_frames_are_read_however_they_are_cut() -> None:
    said = [(answers.TEXT, b"x" * size) for size in (0, 5, 125, 126, 70_000)] + [(answers.CLOSE, b"\x03\xe8")]
    data = b"".join(answers.pack(kind, content, b"abcd") for kind, content in said)
    frames, got = Frames(), []
    for at in range(0, len(data), 7):
        got += frames.take(data[at : at + 7])
    assert got == said
    assert frames.left == b""


def test_every_answer_is_its_own() -> None:
    asks = [Ask(number, nonce) for number in range(3) for nonce in ("aa", "bb")]
    assert len({answers.plain(it) for it in asks}) == len({answers.events(it, 3) for it in asks}) == len(asks)
    assert len(answers.upload_body(asks[0])) == answers.UPLOAD_BYTES


async def test_who_waits_for_his_turn_begins_nothing_when_it_was_stopped_meanwhile() -> None:
    """A soak stops a service when nothing is under way: whoever began then would be lost."""
    async with started(Answering("0", "7")) as server:
        flow = Flow(Kind.PLAIN, workers=3, rate_per_s=5, timeout_s=20)  # the second one begins after 200 ms
        client = LoadClient(Target(server.port, "web.localhost", "hp_token"), [flow])
        running = asyncio.create_task(client.run())
        async with asyncio.timeout(30):
            while client.results.answered < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            client.speed = 0.0
            begun = client.results.sent
            await asyncio.sleep(0.5)  # what is held to is that nothing happens
            assert client.results.sent == begun
            client.speed = 100.0
            while client.results.answered < begun + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        client.stop()
        await asyncio.wait_for(running, 30)
    assert client.results.failures == []
