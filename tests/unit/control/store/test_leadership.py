"""store/leadership and loops/lease on a real PostgreSQL: one leads, and only who leads writes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from homeport_control.domain.errors import NotLeading, NotReady
from homeport_control.domain.leadership import NOBODY, Standing
from homeport_control.loops.lease import LeaseKeeper
from homeport_control.store import meta
from homeport_control.store.connect import Database, open_database
from homeport_control.store.leadership import LeaseConnection, Look, fence
from rig.postgres import Postgres

DEADLINE_S = 30.0


@pytest.fixture
def url(postgresql: Postgres) -> Iterator[str]:
    made = postgresql.create(migrated=True)
    yield made
    postgresql.drop(made)


class One:
    """One of several servers."""

    def __init__(self, url: str, name: str) -> None:
        self.database, self.name = open_database(url), name
        lease = self.database.lease()
        assert lease is not None
        self.lease: LeaseConnection = lease
        self.lost = 0

    def fenced(self, term: int) -> Database:
        return self.database.fenced(fence(term, self._on_lost))

    async def take(self, term: int) -> bool:
        seen = (await self.lease.look()).lease
        assert seen.term == term - 1
        return await self.lease.take(seen, term, self.name, f"{self.name}:7401")

    def _on_lost(self) -> None:
        self.lost += 1


@asynccontextmanager
async def several(url: str, *names: str) -> AsyncIterator[list[One]]:
    made = [One(url, name) for name in names]
    try:
        yield made
    finally:
        for one in made:
            one.lease.close()
            await one.database.close()


async def put(database: Database, key: str) -> None:
    async with database.write() as write:
        await meta.put_once(write, key, "x")


async def until_free(one: One) -> Look:
    """The look that has the lock: PostgreSQL has noticed that the connection of the one before is gone."""
    async with asyncio.timeout(DEADLINE_S):
        while not (look := await one.lease.look()).has_lock:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.01)
    return look


async def known(database: Database, key: str) -> bool:
    async with database.read() as connection:
        return await meta.get(connection, key) is not None


async def test_the_first_leads_and_the_others_see_it(url: str) -> None:
    async with several(url, "a", "b") as (a, b):
        first = await a.lease.look()
        assert (first.lease, first.has_lock) == (NOBODY, True)
        assert await a.take(1)
        seen = await b.lease.look()
        assert (seen.lease.term, seen.lease.name, seen.lease.address, seen.has_lock) == (1, "a", "a:7401", False)
        assert await a.lease.renew(1)
        assert (await b.lease.look()).lease.renewed_at_s > seen.lease.renewed_at_s
        await put(a.fenced(1), "of a")
        assert await known(b.database, "of a")


async def test_a_connection_that_ends_frees_the_lock_at_once_and_the_old_term_writes_nothing(url: str) -> None:
    async with several(url, "a", "b") as (a, b):
        assert await a.take(1)
        old = a.fenced(1)
        a.lease.close()  # what kill -9 does
        await until_free(b)
        assert await b.take(2)
        with pytest.raises(NotLeading, match="leads since term 2, this one led in term 1"):
            await put(old, "too late")
        assert a.lost == 1
        assert not await known(b.database, "too late")
        assert not await a.lease.renew(1)
        await put(b.fenced(2), "of b")


async def test_one_that_stopped_in_the_middle_of_a_write_is_cut_off_and_leaves_nothing_of_it(url: str) -> None:
    async with several(url, "a", "b") as (a, b):
        assert await a.take(1)
        with pytest.raises(NotReady):  # noqa: PT012
            async with a.fenced(1).write() as write:
                await meta.put_once(write, "half", "x")
                assert await b.take(2)  # it holds the lock of all writers; who takes over does not wait for it
                await put(b.fenced(2), "of b")
        assert not await known(b.database, "half")
        with pytest.raises(NotLeading):
            await put(a.fenced(1), "later")
        await put(b.fenced(2), "further")
        assert (await a.lease.look()).lease.name == "b"


async def test_what_has_changed_since_the_look_is_not_taken(url: str) -> None:
    async with several(url, "a", "b", "c") as (a, b, c):
        assert await a.take(1)
        seen = (await b.lease.look()).lease
        assert await a.lease.renew(1)  # it is heard again
        assert not await b.lease.take(seen, 2, "b", "b:7401")
        seen = (await b.lease.look()).lease
        b.lease.close()
        assert await c.take(2)
        assert not await b.lease.take(seen, 2, "b", "b:7401")
        assert (await b.lease.look()).lease.name == "c"
        assert (await c.lease.look()).has_lock, "the loser took the lock"


async def test_who_lets_go_is_followed_at_once(url: str) -> None:
    async with several(url, "a", "b") as (a, b):
        assert await a.take(1)
        await a.lease.let_go(1)
        look = await until_free(b)
        assert look.lease.server == ""
        assert await b.take(2)


async def test_a_database_that_says_nothing_is_not_waited_for(url: str, postgresql: Postgres) -> None:
    async with several(url, "a") as (a,):
        assert await a.take(1)
        postgresql.freeze()
        try:
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(NotReady, match="does not answer"):
                    await a.lease.look()
        finally:
            postgresql.thaw()
        await until_free(a)


class Kept:
    """A server that keeps its lease by itself."""

    def __init__(self, one: One) -> None:
        self.one = one
        self.heard: asyncio.Queue[Standing] = asyncio.Queue()
        self.keeper = LeaseKeeper(one.lease, one.name, f"{one.name}:7401", self.heard.put_nowait)
        self.task = asyncio.create_task(self.keeper.run())

    async def until(self, *, leads: bool) -> Standing:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                standing = await self.heard.get()
                if standing.term and standing.leads == leads:
                    return standing

    async def end(self) -> None:
        self.keeper.end()
        await self.task
        await self.keeper.let_go()


async def test_of_those_that_keep_it_one_leads_after_the_other(url: str) -> None:
    async with several(url, "a", "b", "c") as ones:
        a, b, c = (Kept(one) for one in ones)
        first = await led(a, b, c)
        others = [it for it in (a, b, c) if it is not first]
        for it in others:
            assert (await it.until(leads=False)).name == first.one.name
        await first.end()
        second = await led(*others)
        assert second.keeper.standing.term == 2
        assert "let go of term 1" in second.keeper.standing.because
        # It is stopped, without a word: its connection stays, and says nothing.
        second.task.cancel()
        third = next(it for it in others if it is not second)
        standing = await third.until(leads=True)
        assert standing.term == 3
        assert "has not been heard for" in standing.because
        with pytest.raises((NotLeading, NotReady)):
            await put(second.one.fenced(2), "too late")
        await third.end()


async def led(*among: Kept) -> Kept:
    """The one that comes to lead."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := [it for it in among if it.keeper.standing.leads]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(found) == 1
    return found[0]
