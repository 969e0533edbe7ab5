"""store/sqlite: migrations of a file, and the words for what goes wrong with it."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from fixtures.control import State, add_host, migrated, opened
from homeport_control.domain.errors import NotReady
from homeport_control.store import hosts, meta, replicas, reservations
from homeport_control.store.connect import migrate
from homeport_control.store.schema import metadata
from sqlalchemy.ext.asyncio import AsyncConnection


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    """On SQLite alone."""
    return migrated(template, tmp_path / "server").parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "homeport.db"


def test_the_migrations_make_exactly_the_schema(file: Path) -> None:
    migrate(file)
    with sa.create_engine(f"sqlite:///{file}", poolclass=sa.pool.NullPool).connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, metadata) == []
        names = {index["name"] for index in sa.inspect(connection).get_indexes("runs")}
    assert "runs_active_name" in names


def test_a_second_migration_changes_nothing(file: Path) -> None:
    migrate(file)
    before = file.read_bytes()
    migrate(file)
    assert file.read_bytes() == before


def test_a_newer_database_is_refused_in_words(file: Path) -> None:
    migrate(file)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NotReady, match=r"does not fit this version of Homeport.*9999"):
        migrate(file)


def test_a_file_that_is_no_database_is_refused_in_words(file: Path) -> None:
    file.write_bytes(b"something else entirely " * 100)
    with pytest.raises(NotReady, match="the database is damaged: file is not a database"):
        migrate(file)


def test_a_migration_of_a_locked_database_says_so(file: Path) -> None:
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(NotReady, match="another process holds a write lock"):
            migrate(file, busy_timeout_s=0.1)
    finally:
        holder.close()


async def test_a_lock_of_another_process_is_one_line(directory: Path) -> None:
    holder = sqlite3.connect(directory / "homeport.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with opened(directory, busy_timeout_s=0.1) as state:
        with pytest.raises(NotReady) as caught:
            async with state.database.write():
                pytest.fail("the lock is held")
        assert "database is locked; another process holds a write lock on it; try again" in str(caught.value)
        assert "\n" not in str(caught.value)
        holder.execute("ROLLBACK")
        holder.close()
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")


async def test_a_full_disk_is_one_line_and_changes_nothing(state: State) -> None:
    async def too_much() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "small", "x")
            pages = await write.connection.scalar(sa.text("PRAGMA page_count"))
            await write.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            await meta.put_once(write, "large", "x" * 1_000_000)

    with pytest.raises(NotReady) as caught:
        await too_much()
    assert "database or disk is full; free some space on the disk that holds it; nothing was changed" in str(
        caught.value
    )
    async with state.database.read() as connection:
        assert await meta.get(connection, "small") is None


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="unable to open database file"):
        migrate(tmp_path / "nowhere" / "homeport.db")


async def test_a_file_that_goes_away_is_one_line_and_what_was_written_is_there_when_it_is_back(state: State) -> None:
    async def put(key: str) -> None:
        async with state.database.write() as write:
            await meta.put_once(write, key, "there")

    async def got(key: str) -> str | None:
        async with state.database.read() as connection:
            return await meta.get(connection, key)

    def move(source: str, target: str) -> None:
        for end in ("", "-wal", "-shm"):
            (state.directory / f"{source}{end}").rename(state.directory / f"{target}{end}")

    await put("before")
    move("homeport.db", "moved.db")
    # Those of the pool, which still have the moved one open, and new ones, which would make an empty file.
    outcomes = await asyncio.gather(put("while away"), *(got("before") for _ in range(4)), return_exceptions=True)
    assert all(isinstance(it, NotReady) and "the file is not there" in str(it) for it in outcomes), outcomes
    assert not state.file.exists()
    move("moved.db", "homeport.db")
    assert await asyncio.gather(*(got("before") for _ in range(5))) == ["there"] * 5
    assert await got("while away") is None
    await put("after")


def copied(state: State, changed: str) -> Path:
    """A copy of the file, with a change of its own."""
    copy = state.directory / "copy.db"
    with closing(sqlite3.connect(state.file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute(changed)
        target.commit()
    return copy


def put_in_place(state: State, copy: Path) -> None:
    for end in ("-wal", "-shm"):
        (state.directory / f"homeport.db{end}").unlink()
    copy.replace(state.file)


async def test_a_copy_that_is_put_in_the_files_place_is_what_is_read_from_then_on(state: State) -> None:
    async with state.database.write() as write:
        await meta.put_once(write, "key", "old")
    put_in_place(state, copied(state, "UPDATE meta SET value = 'new' WHERE key = 'key'"))
    for _ in range(3):
        async with state.database.read() as connection:
            assert await meta.get(connection, "key") == "new"


async def test_of_a_copy_that_has_gone_another_way_nothing_is_believed_to_be_known(state: State) -> None:
    """Both have given the same versions, to other changes."""
    await add_host(state)
    copy = copied(state, "UPDATE hosts SET region = 'there'")
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"cordoned": True})
    async with state.database.read() as connection:
        assert [(it.cordoned, it.region) for it in await hosts.list_all(connection)] == [(True, "remote")]
    put_in_place(state, copy)
    async with state.database.read() as connection:
        assert [(it.cordoned, it.region) for it in await hosts.list_all(connection)] == [(False, "there")]


def twice(asked: Callable[[AsyncConnection], Awaitable[object]]) -> Callable[[AsyncConnection], Awaitable[object]]:
    """The first one reads all of it."""

    async def ask(connection: AsyncConnection) -> None:
        await asked(connection)
        await asked(connection)

    return ask


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (lambda connection: replicas.on_hosts(connection, ["h1", "h2", "h3"]), "replicas_left_by_host"),
        (lambda connection: replicas.of_run(connection, "a"), "replicas_left_by_run"),
        (lambda connection: replicas.of_runs(connection, ["a"], ended_since_s=1.0), "replicas_ended"),
        (replicas.list_active, "replicas_left"),
        (twice(replicas.list_active), "ix_replicas_version"),
        (twice(hosts.list_all), "ix_hosts_version"),
        (twice(reservations.list_all), "ix_reservations_version"),
    ],
)
async def test_what_is_asked_often_is_found_by_its_own_index(
    directory: Path, asked: Callable[[AsyncConnection], Awaitable[object]], index: str
) -> None:
    """Whatever else there is: with ten thousand replicas another one makes each answer a walk through all of them."""
    async with opened(directory) as state, state.database.read() as connection:
        plans: list[str] = []

        def planned(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(str(row[3]) for row in cursor.fetchall()))

        sa.event.listen(state.database._reading.sync_engine, "before_cursor_execute", planned)
        await asked(connection)
    assert any(f"USING INDEX {index} " in plan for plan in plans), plans
