"""store/loader: what is asked for together is read together, after it was asked for, and nobody waits for who is gone."""

import asyncio
from collections.abc import Sequence

import pytest
from homeport_control.domain.errors import NotReady
from homeport_control.store.loader import Loader
from homeport_control.store.together import AT_ONCE


class Shelf:
    """`read` reads of `there`, when the gate is open."""

    def __init__(self) -> None:
        self.there: dict[str, int] = {}
        self.reads: list[tuple[str, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def read(self, keys: Sequence[str]) -> dict[str, int]:
        self.reads.append(tuple(keys))
        found = {key: self.there[key] for key in keys if key in self.there}
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return found


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_alone_is_read_for_at_once_and_others_together_after_that() -> None:
    shelf = Shelf()
    shelf.there = {"a": 1, "b": 2, "c": 3}
    shelf.gate.clear()
    loader = Loader(shelf.read)
    first = asyncio.create_task(loader.load(["a"]))
    await turns()
    others = [asyncio.create_task(loader.load(keys)) for keys in (["b", "c"], ["c", "x"], ["b"])]
    await turns()
    assert shelf.reads == [("a",)]
    shelf.gate.set()
    assert await first == {"a": 1}
    assert [(await it)["b"] for it in others] == [2, 2, 2]
    assert shelf.reads == [("a",), ("b", "c", "x")]
    assert "x" not in await others[1]


async def test_what_is_returned_was_read_after_it_was_asked_for() -> None:
    shelf = Shelf()
    shelf.there = {"a": 1}
    shelf.gate.clear()
    loader = Loader(shelf.read)
    before = asyncio.create_task(loader.load(["a"]))
    await turns()
    shelf.there = {"a": 2}
    after = asyncio.create_task(loader.load(["a"]))
    await turns()
    shelf.gate.set()
    assert [(await it)["a"] for it in (before, after)] == [1, 2]


async def test_a_read_that_fails_fails_for_who_asked_and_the_next_one_is_done() -> None:
    shelf = Shelf()
    loader = Loader(shelf.read)
    shelf.error = NotReady("the database is away")
    for found in await asyncio.gather(loader.load(["a"]), loader.load(["b"]), return_exceptions=True):
        assert isinstance(found, NotReady)
    shelf.error = None
    assert await loader.load(["a"]) == {}


async def test_who_is_gone_is_not_read_for_and_takes_nobody_along() -> None:
    shelf = Shelf()
    shelf.there = {"a": 1, "b": 2}
    shelf.gate.clear()
    loader = Loader(shelf.read)
    under_way = asyncio.create_task(loader.load(["x"]))
    await turns()
    gone, stays = (asyncio.create_task(loader.load([key])) for key in ("a", "b"))
    await turns()
    for it in (under_way, gone):
        it.cancel()
    await turns()
    assert not under_way.done(), "the read goes on, and ends before who asked for it does"
    shelf.gate.set()
    assert await stays == {"b": 2}
    assert shelf.reads[1:] == [("b",)]
    for it in (under_way, gone):
        with pytest.raises(asyncio.CancelledError):
            await it


async def test_a_read_is_bounded_and_the_rest_comes_with_the_next() -> None:
    shelf = Shelf()
    loader = Loader(shelf.read)
    await asyncio.gather(*(loader.load([f"k{number}"]) for number in range(AT_ONCE + 5)))
    assert [len(keys) for keys in shelf.reads] == [AT_ONCE, 5]
