"""store/sqlite: migrations of a file, and the words for what goes wrong with it."""

import sqlite3
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from fixtures.control import State, migrated, opened
from homeport_control.domain.errors import NotReady
from homeport_control.store import meta
from homeport_control.store.connect import migrate
from homeport_control.store.schema import metadata


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
