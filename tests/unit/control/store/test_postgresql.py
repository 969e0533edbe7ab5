"""store/postgresql: migrations, one writer of all servers, deadlines, and the words for what goes wrong with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S
from homeport_control.domain.errors import NotReady
from homeport_control.store import events, meta
from homeport_control.store.connect import Database, migrate, open_database
from homeport_control.store.postgresql import WRITE_LOCK, Deadlines, Postgresql
from homeport_control.store.schema import metadata
from rig.ports import free_port
from rig.postgres import ESCAPED, PASSWORD, Postgres


@pytest.fixture
def empty_url(postgresql: Postgres) -> Iterator[str]:
    """A database in which nothing is, not even tables."""
    made = postgresql.create()
    yield made
    postgresql.drop(made)


@asynccontextmanager
async def server(url: str, **deadlines: float) -> AsyncIterator[Database]:
    """What one server has open."""
    database = Database(Postgresql(url, Deadlines(**deadlines)))
    try:
        yield database
    finally:
        await database.close()


@contextmanager
def refused(pattern: str) -> Iterator[None]:
    """NotReady, in one line that holds no password."""
    with pytest.raises(NotReady, match=pattern) as caught:
        yield
    line = str(caught.value)
    assert "\n" not in line
    assert PASSWORD not in line
    assert ESCAPED not in line


async def put(database: Database, key: str, value: str = "") -> None:
    async with database.write() as write:
        await meta.put_once(write, key, value)
        write.touch("runs")


async def keys(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.scalars(sa.text("SELECT key FROM meta")))


def test_the_migrations_make_exactly_the_schema(postgresql: Postgres, empty_url: str) -> None:
    migrate(empty_url)

    def differences(connection: sa.Connection) -> object:
        context = alembic.migration.MigrationContext.configure(connection)
        return alembic.autogenerate.compare_metadata(context, metadata)

    async def look() -> object:
        async with server(empty_url) as database, database.read() as connection:
            return await connection.run_sync(differences)

    assert asyncio.run(look()) == []
    index = postgresql.sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'runs_active_name'", name(empty_url))
    assert index.startswith("CREATE UNIQUE INDEX")
    assert index.endswith("WHERE (ended_at_s IS NULL)")
    small = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'integer'"
    assert postgresql.sql(small, name(empty_url)) == "0", "SQLite's integers have 64 bits"
    other = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'text' "
    assert postgresql.sql(other + "AND collation_name IS DISTINCT FROM 'C'", name(empty_url)) == "0"


def test_two_servers_that_start_at_once_migrate_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [empty_url] * 4))
    migrate(empty_url)


def test_a_newer_database_is_refused_in_words(postgresql: Postgres, empty_url: str) -> None:
    migrate(empty_url)
    postgresql.sql("UPDATE alembic_version SET version_num = '9999'", name(empty_url))
    with refused(r"does not fit this version of Homeport.*9999"):
        migrate(empty_url)


def test_what_is_wrong_with_the_place_is_said(postgresql: Postgres, url: str) -> None:
    with refused("password authentication failed.*put user and password right"):
        migrate(url.replace(ESCAPED, "wrong"))
    with refused(r'database "nowhere" does not exist; make that database'):
        migrate(postgresql.url("nowhere"))
    with refused("the database is away: .*services go on"):
        migrate(url.replace(str(postgresql.port), str(free_port())))


async def test_a_server_that_starts_without_its_database_says_so(url: str) -> None:
    async with server(url.replace(ESCAPED, "wrong")) as database:
        with refused("password authentication failed"):
            await keys(database)
        with refused("password authentication failed"):
            await put(database, "a")


async def test_servers_write_one_after_the_other(url: str) -> None:
    """Read, then decide, then write: right only when nobody writes between. Ids of events become visible in their order."""

    async def count(database: Database) -> None:
        async with database.write() as write:
            number = int(await write.connection.scalar(sa.text("SELECT count(*) FROM meta")) or 0)
            await meta.put_once(write, f"key{number}", "")
            events.record(write, kind="server", object_id="s", name="s", sentence=f"number {number}")

    seen: list[int] = []

    async def follow(database: Database, writers: "asyncio.Future[list[None]]") -> None:
        while True:
            last = writers.done()
            async with database.read() as connection:
                up_to = await events.last_id(connection)
                after = seen[-1] if seen else 0
                seen.extend(event.id for event in await events.later(connection, events.Filter(), after, up_to))
            if last:
                return

    async with server(url) as one, server(url) as two, asyncio.timeout(DEADLINE_S):
        writers = asyncio.gather(*(count(it) for it in [one, two] * 20))
        await asyncio.gather(writers, follow(one, writers))
        assert len(await keys(two)) == 40
    assert seen == list(range(1, 41))


async def test_a_writer_waits_for_another_server_no_longer_than_it_may(url: str) -> None:
    async with server(url) as holder, server(url, lock_s=0.1) as waiting:
        async with holder.write() as write:
            await meta.put_once(write, "a", "")
            with refused("lock timeout; another server holds its write lock; try again"):
                await put(waiting, "b")
            assert await keys(waiting) == set(), "and readers wait for nobody"
        await put(waiting, "b")
        assert await keys(holder) == {"a", "b"}


async def test_a_server_that_stands_still_in_a_write_lets_the_others_go_on(url: str) -> None:
    async with server(url, idle_s=0.3) as frozen, server(url) as other:
        with refused("idle-in-transaction timeout|the database is away|the database cannot be used now"):
            async with frozen.write() as write:
                await meta.put_once(write, "a", "")
                await put(other, "b")
                await meta.put_once(write, "c", "")
        assert await keys(frozen) == {"b"}


async def test_what_is_too_slow_ends(url: str) -> None:
    async with server(url, statement_s=0.1) as database:
        with refused("statement timeout; it was too slow"):
            async with database.write() as write:
                await meta.put_once(write, "a", "")
                await write.connection.execute(sa.text("SELECT pg_sleep(60)"))
        assert await keys(database) == set()


async def test_a_restart_is_not_noticed_when_nobody_asked_meanwhile(postgresql: Postgres, url: str) -> None:
    async with server(url) as database:
        await put(database, "a")
        await asyncio.gather(*(keys(database) for _ in range(8)))
        await asyncio.to_thread(postgresql.stop)
        await asyncio.to_thread(postgresql.start)
        assert await keys(database) == {"a"}
        await put(database, "b")


async def test_while_it_is_away_each_call_says_so_and_afterwards_all_is_well(postgresql: Postgres, url: str) -> None:
    async with server(url) as database:
        await put(database, "a")
        await asyncio.to_thread(postgresql.stop)
        try:
            for call in (keys, lambda it: put(it, "b")):
                with refused("the database is away: .*services go on, try again when PostgreSQL runs"):
                    await call(database)
        finally:
            await asyncio.to_thread(postgresql.start)
        await put(database, "c")
        assert await keys(database) == {"a", "c"}


async def test_a_write_that_is_under_way_when_it_dies_leaves_nothing(postgresql: Postgres, url: str) -> None:
    async with server(url) as database:
        with refused("the database is away|the database cannot be used now: .*try again when PostgreSQL runs"):
            async with database.write() as write:
                await meta.put_once(write, "a", "")
                await asyncio.to_thread(postgresql.kill)
                await asyncio.to_thread(postgresql.start)
                await meta.put_once(write, "b", "")
        assert await keys(database) == set()
        await put(database, "c")


async def test_a_database_that_answers_nothing_is_given_up_in_time(postgresql: Postgres, url: str) -> None:
    async with server(url, answer_s=0.3, connect_s=0.3) as database:
        await put(database, "a")
        await asyncio.to_thread(postgresql.freeze)
        try:
            began_s = time.monotonic()
            for call in (keys, lambda it: put(it, "b")):
                with refused("the database is away: it does not answer"):
                    await call(database)
            assert time.monotonic() - began_s < 5
        finally:
            await asyncio.to_thread(postgresql.thaw)
        assert await keys(database) == {"a"}
        await put(database, "c")


async def test_no_connection_left_is_one_line(postgresql: Postgres, url: str) -> None:
    postgresql.sql(f"CREATE ROLE few LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1")
    try:
        postgresql.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO few", name(url))
        async with server(url.replace("homeport:", "few:")) as database, database.read():
            with refused("too many connections.*max_connections; nothing was changed"):
                await keys(database)
    finally:
        postgresql.sql("DROP OWNED BY few", name(url))
        postgresql.sql("DROP ROLE few")


async def test_a_user_who_may_not_write_is_told(postgresql: Postgres, url: str) -> None:
    postgresql.sql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    try:
        async with server(url.replace("homeport:", "reader:")) as database:
            with refused("permission denied for table meta; its user must own the database"):
                await keys(database)
    finally:
        postgresql.sql("DROP ROLE reader")


async def test_a_write_that_is_cancelled_while_it_waits_for_the_lock_leaves_none(url: str) -> None:
    async with server(url) as holder, server(url) as waiting:
        async with holder.write():
            task = asyncio.create_task(put(waiting, "a"))
            async with holder.read() as connection, asyncio.timeout(DEADLINE_S):
                while not await connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(DEADLINE_S):
            await put(waiting, "b")
        assert "b" in await keys(holder)


async def test_counters_beyond_32_bits_and_names_by_their_bytes(url: str) -> None:
    async with server(url) as database:
        async with database.write() as write:
            values = {"token_id": "", "service": "s", "model": "", "requests": 1, "prompt_tokens": 2**40}
            where = {"from_s": 3600, "span_s": 3600, "completion_tokens": 2**33}
            await write.connection.execute(sa.insert(metadata.tables["usage"]).values(**values, **where))
            for key in ("a", "B", "_", "é", "a-b", "ab"):
                await meta.put_once(write, key, "")
        async with database.read() as connection:
            query = sa.select(metadata.tables["meta"].c.key).order_by("key")
            assert list(await connection.scalars(query)) == sorted(("a", "B", "_", "é", "a-b", "ab"))
            assert await connection.scalar(sa.select(metadata.tables["usage"].c.prompt_tokens)) == 2**40


def test_it_can_be_opened_without_a_connection(url: str) -> None:
    asyncio.run(open_database(url.replace("127.0.0.1", "192.0.2.1")).close())
    assert WRITE_LOCK < 2**63


def name(url: str) -> str:
    return url.rpartition("/")[2]
