"""store/batches: what comes together is one transaction, and nobody fails for another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from fixtures.control import State
from homeport_control.domain.errors import BadRequest, NotReady
from homeport_control.store import events, meta
from homeport_control.store.batches import Batches, once_each
from homeport_control.store.connect import Write
from homeport_control.store.together import AT_ONCE

Part = Callable[[Write], Awaitable[None]]


async def one_by_one(write: Write, parts: Sequence[Part]) -> None:
    for part in parts:
        write.cause_id = events.new_cause()
        await part(write)


def batches_of(state: State) -> Batches[Part]:
    return Batches(state.database, one_by_one)


def puts(key: str, seen: list[int] | None = None) -> Part:
    async def part(write: Write) -> None:
        await meta.put_once(write, key, "1")
        events.record(write, kind="host", object_id=key, name=key, sentence="said something")
        if seen is not None:
            seen.append(id(write))

    return part


async def refused(write: Write) -> None:
    await meta.put_once(write, "bad", "1")
    raise BadRequest("no")


async def kept(state: State, *keys: str) -> list[bool]:
    async with state.database.read() as connection:
        return [await meta.get(connection, key) is not None for key in keys]


async def test_what_comes_together_is_one_transaction_each_with_its_own_cause(state: State) -> None:
    batches, seen = batches_of(state), list[int]()
    keys = [f"k{number}" for number in range(10)]
    await asyncio.gather(*(batches.add(puts(key, seen)) for key in keys))
    assert len(set(seen)) < len(keys), "they were written one by one"
    assert all(await kept(state, *keys))
    async with state.database.read() as connection:
        told = await events.newest(connection, events.Filter(), 100)
    assert [it.name for it in told] == keys
    assert len({it.cause_id for it in told}) == len(keys)


async def test_one_that_fails_takes_no_other_with_it(state: State) -> None:
    batches = batches_of(state)
    works = [batches.add(puts("a")), batches.add(refused), batches.add(puts("c"))]
    done = await asyncio.gather(*works, return_exceptions=True)
    assert [type(it) for it in done] == [type(None), BadRequest, type(None)]
    assert await kept(state, "a", "bad", "c") == [True, False, True]
    async with state.database.read() as connection:
        assert len(await events.newest(connection, events.Filter(), 100)) == 2, "told once, though it ran twice"


async def test_a_batch_is_bounded_and_the_rest_comes_with_the_next(state: State) -> None:
    batches = batches_of(state)
    keys = [f"k{number}" for number in range(AT_ONCE * 2 + 1)]
    await asyncio.gather(*(batches.add(puts(key)) for key in keys))
    assert all(await kept(state, *keys))


async def test_who_is_gone_before_its_turn_is_not_written(state: State) -> None:
    batches = batches_of(state)
    async with state.database.write():
        gone, stays = asyncio.create_task(batches.add(puts("a"))), asyncio.create_task(batches.add(puts("b")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
    await stays
    assert await kept(state, "a", "b") == [False, True]


async def test_a_database_that_is_away_is_told_to_each(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> object:
        raise NotReady("the database is away")

    batches = batches_of(state)
    monkeypatch.setattr(state.database, "write", away)
    done = await asyncio.gather(*(batches.add(puts(key)) for key in "abc"), return_exceptions=True)
    assert [type(it) for it in done] == [NotReady] * 3
    monkeypatch.undo()
    await batches.add(puts("d"))
    assert await kept(state, "d") == [True]


def test_in_each_round_an_object_stands_once_and_its_items_keep_their_order() -> None:
    items = ["a1", "b1", "a2", "c1", "a3", "b2"]
    assert list(once_each(items, lambda it: it[0])) == [["a1", "b1", "c1"], ["a2", "b2"], ["a3"]]
    assert list(once_each([], lambda it: it)) == []
