"""hub: one feed for all who look, by the token of one of them; another's when that one's is refused."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import pytest
from fixtures.control import until_true
from homeport_control.dashboard import hub as hub_module
from homeport_control.dashboard.board import Tail
from homeport_control.dashboard.hub import MOST_HUBS, Hub, Hubs
from homeport_control.dashboard.streams import GZIP_HEAD, mark, pack, versions
from homeport_control.relay.inside import Failed, Reader

ANN, BOB = Reader("ann"), Reader("bob")


class Source:
    """What feeds read from: `say` gives a piece to each, `refuse` ends those of a token."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.open: dict[str, asyncio.Queue[str | Failed]] = {}
        self.pages: list[Tail] = []

    def make(self) -> Hub:
        page = Tail("lines", 10)
        self.pages.append(page)

        async def feed(reader: Reader) -> AsyncGenerator[None, None]:
            self.began.append(reader.token)
            queue = self.open[reader.token] = asyncio.Queue()
            try:
                page.fill()
                yield
                while True:
                    said = await queue.get()
                    if isinstance(said, Failed):
                        raise said
                    page.add([said])
                    yield
            finally:
                self.open.pop(reader.token, None)

        return Hub(page, feed)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def hubs(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hubs]:
    monkeypatch.setattr(hub_module, "PAUSE_S", 0.01)
    made = Hubs(linger_s=0.05)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_all_viewers_share_one_feed_that_ends_after_the_last(hubs: Hubs, source: Source) -> None:
    one, two = asyncio.Event(), asyncio.Event()
    async with (
        hubs.viewing("fleet", source.make, ANN, one) as hub,
        hubs.viewing("fleet", source.make, BOB, two) as same,
    ):
        assert hub is same
        await hub.first(one)
        one.clear(), two.clear()
        source.open["ann"].put_nowait("x")
        await asyncio.gather(one.wait(), two.wait())
        assert hub.page.since(0) == '<div hx-swap-oob="beforeend:#lines">x</div>'
    assert source.began == ["ann"]
    await until_true(lambda: not source.open)
    assert hub.is_closed
    async with hubs.viewing("fleet", source.make, BOB, one) as new:
        assert new is not hub
        await new.first(one)
    assert source.began == ["ann", "bob"]


async def test_a_refused_token_hands_the_feed_to_another_viewer(hubs: Hubs, source: Source) -> None:
    bell = asyncio.Event()
    async with (
        hubs.viewing("fleet", source.make, ANN, asyncio.Event()) as hub,
        hubs.viewing("fleet", source.make, BOB, bell),
    ):
        await hub.first(bell)
        source.open["ann"].put_nowait(Failed(grpc.StatusCode.UNAUTHENTICATED, "revoked"))
        await until_true(lambda: "bob" in source.open)
        assert not hub.trouble
    assert source.began == ["ann", "bob"]


async def test_when_nobody_s_token_is_good_the_hub_ends(hubs: Hubs, source: Source) -> None:
    bell = asyncio.Event()
    async with hubs.viewing("fleet", source.make, ANN, bell) as hub:
        await hub.first(bell)
        source.open["ann"].put_nowait(Failed(grpc.StatusCode.PERMISSION_DENIED, "no more"))
        await until_true(lambda: hub.is_closed)


async def test_a_break_is_told_and_tried_again(hubs: Hubs, source: Source) -> None:
    bell = asyncio.Event()
    async with hubs.viewing("fleet", source.make, ANN, bell) as hub:
        await hub.first(bell)
        source.open["ann"].put_nowait(Failed(grpc.StatusCode.UNAVAILABLE, "nobody leads"))
        await until_true(lambda: hub.trouble == "nobody leads")
        await until_true(lambda: len(source.began) == 2 and not hub.trouble)


async def test_what_is_not_there_is_not_asked_for_again(hubs: Hubs, source: Source) -> None:
    bell = asyncio.Event()
    async with hubs.viewing("log", source.make, ANN, bell) as hub:
        await hub.first(bell)
        source.open["ann"].put_nowait(Failed(grpc.StatusCode.NOT_FOUND, "no run x"))
        await until_true(lambda: hub.is_over)
        assert (hub.trouble, source.began) == ("no run x", ["ann"])


async def test_so_many_pages_and_no_more(hubs: Hubs, source: Source) -> None:
    bell = asyncio.Event()
    stack = [hubs.viewing(place, source.make, ANN, bell) for place in range(MOST_HUBS)]
    for each in stack:
        await each.__aenter__()
    with pytest.raises(Failed, match="64 different pages are looked at") as caught:
        await hubs.viewing("more", source.make, ANN, bell).__aenter__()
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with hubs.viewing(3, source.make, ANN, bell):
        pass  # one that is looked at already
    for each in reversed(stack):
        await each.__aexit__(None, None, None)


def test_a_mark_means_something_for_its_own_hub_alone(source: Source) -> None:
    one, two, other = source.make(), source.make(), source.make()
    said = mark([one, two], [3, 7])
    assert versions(said, [one, two]) == [3, 7]
    assert versions(said, [one, other]) == [3, -1]
    for odd in ("", "x", f"{one.epoch}-x", f"{one.epoch}--1", "..", "-", f"{one.epoch}-²"):
        assert versions(odd, [one]) == [-1]


def test_pieces_that_were_packed_alone_are_one_stream() -> None:
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    said = [reader.decompress(piece) for piece in (GZIP_HEAD, pack("one"), pack("one"), pack("zwö" * 1000))]
    assert [it.decode() for it in said] == ["", "one", "one", "zwö" * 1000], "each is there at once"
