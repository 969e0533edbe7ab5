"""store/listening: what one server changes is heard by the others, also after the connection that hears it broke."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.store import meta
from homeport_control.store.changes import Subscription
from homeport_control.store.connect import Database, open_database
from homeport_control.store.listening import MAX_PAYLOAD_BYTES, payloads
from rig.postgres import Postgres


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Database]:
    """A server that hears; ready when it does."""
    database = open_database(url)
    with database.changes.subscribe("ready") as ready:
        task = asyncio.create_task(database.listen())
        assert await ready.wait(DEADLINE_S), "it publishes all topics once it hears"
    try:
        yield database
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await database.close()


async def touch(database: Database, *topics: str) -> None:
    async with database.write() as write:
        await meta.put_once(write, "a", "b")
        write.touch(*topics)


async def heard(subscription: Subscription) -> bool:
    return await subscription.wait(DEADLINE_S)


async def test_a_change_of_one_server_is_heard_by_the_other(url: str) -> None:
    async with listening(url) as one, listening(url) as two:
        with two.changes.subscribe("runs") as runs, two.changes.subscribe("hosts") as hosts:
            await touch(one, "runs")
            assert await heard(runs)
            assert not await hosts.wait(0)


async def test_what_was_rolled_back_is_not_heard(url: str) -> None:
    async def failing(database: Database) -> None:
        async with database.write() as write:
            write.touch("runs")
            raise ZeroDivisionError

    async with listening(url) as one, listening(url) as two:
        with two.changes.subscribe("runs") as runs, two.changes.subscribe("hosts") as hosts:
            with pytest.raises(ZeroDivisionError):
                await failing(one)
            await touch(one, "hosts")
            assert await heard(hosts)
            assert not await runs.wait(0)


async def test_ones_own_changes_come_once(url: str) -> None:
    async with listening(url) as one, listening(url) as two:
        with one.changes.subscribe("runs") as own, two.changes.subscribe("runs", "hosts") as others:
            await touch(one, "runs")
            assert await own.wait(0), "at once"
            assert await heard(others)
            with one.changes.subscribe("hosts") as answer:
                await touch(two, "hosts")
                assert await heard(answer), "which was sent after it"
            assert not await own.wait(0)


async def test_many_topics_are_split_and_all_are_heard(url: str) -> None:
    topics = [f"host:{number:012x}" for number in range(2000)]
    async with listening(url) as one, listening(url) as two:
        with two.changes.subscribe(topics[0]) as first, two.changes.subscribe(topics[-1]) as last:
            await touch(one, *topics)
            assert await heard(first)
            assert await heard(last)


async def test_after_a_restart_everybody_looks_anew_and_hears_again(postgresql: Postgres, url: str) -> None:
    async with listening(url) as one, listening(url) as two:
        with two.changes.subscribe("runs") as runs:
            await asyncio.to_thread(postgresql.stop)
            await asyncio.to_thread(postgresql.start)
            assert await heard(runs), "what was missed meanwhile is not known: all of it"
            await touch(one, "runs")
            assert await heard(runs)


async def test_a_process_that_only_writes_is_heard_too(url: str) -> None:
    """`homeport server join-token` and the like."""
    async with listening(url) as running:
        with running.changes.subscribe("tokens") as tokens:
            other = open_database(url)
            await touch(other, "tokens")
            await other.close()
            assert await heard(tokens)


def test_messages_are_as_few_and_as_long_as_may_be() -> None:
    topics = {f"host:{number}" for number in range(5000)}
    made = payloads("origin", topics)
    assert all(len(it.encode()) <= MAX_PAYLOAD_BYTES for it in made)
    assert all(it.split(" ")[0] == "origin" for it in made)
    assert {topic for it in made for topic in it.split(" ")[1:]} == topics
    assert len(made) <= sum(map(len, topics)) // MAX_PAYLOAD_BYTES + 5
    assert payloads("origin", []) == []
