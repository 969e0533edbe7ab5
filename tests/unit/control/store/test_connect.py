"""store/connect: migrations, transactions that are whole, topics after commits, and the words for what goes wrong."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S, State, add_run, opened
from homeport_control.domain.errors import NotReady
from homeport_control.store import meta, runs
from homeport_control.store.connect import migrate
from homeport_control.store.schema import metadata

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT count(*) FROM c"


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


async def test_topics_are_published_after_the_commit(state: State) -> None:
    with state.database.changes.subscribe("runs") as subscription:
        async with state.database.write() as write:
            write.touch("runs")
            assert not await subscription.wait(0)
        assert await subscription.wait(0)


async def test_nothing_is_written_or_published_after_a_rollback(state: State) -> None:
    async def failing() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            write.touch("runs")
            raise ZeroDivisionError

    with state.database.changes.subscribe("runs") as subscription:
        with pytest.raises(ZeroDivisionError):
            await failing()
        assert not await subscription.wait(0)
    async with state.database.read() as connection:
        assert await meta.get(connection, "a") is None


async def test_writers_of_one_process_wait_for_one_another(state: State) -> None:
    async def count() -> None:
        async with state.database.write() as write:
            current = int(await write.connection.scalar(sa.text("SELECT count(*) FROM meta")))
            await meta.put_once(write, f"key{current}", "")

    await asyncio.wait_for(asyncio.gather(*(count() for _ in range(20))), DEADLINE_S)
    async with state.database.read() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM meta")) == 20


async def test_a_write_that_is_cancelled_in_a_statement_leaves_no_lock(state: State) -> None:
    begun = asyncio.Event()

    async def slow() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            begun.set()
            await write.connection.execute(sa.text(SLOW))

    task = asyncio.create_task(slow())
    await asyncio.wait_for(begun.wait(), DEADLINE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(DEADLINE_S), state.database.write() as write:
        assert await meta.get(write.connection, "a") is None


async def test_a_commit_that_is_cancelled_is_whole_and_published(state: State) -> None:
    begun = asyncio.Event()

    async def apply() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            write.touch("runs")
            begun.set()  # nothing awaits between this and COMMIT, so that the cancellation meets COMMIT itself

    with state.database.changes.subscribe("runs") as subscription:
        task = asyncio.create_task(apply())
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await subscription.wait(0)
    async with state.database.read() as connection:
        assert await meta.get(connection, "a") == "b"


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


async def test_a_copy_that_is_put_in_the_files_place_is_what_is_read_from_then_on(state: State) -> None:
    async with state.database.write() as write:
        await meta.put_once(write, "key", "old")
    copy = state.directory / "copy.db"
    with closing(sqlite3.connect(state.file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("UPDATE meta SET value = 'new' WHERE key = 'key'")
        target.commit()
    for end in ("-wal", "-shm"):
        (state.directory / f"homeport.db{end}").unlink()
    copy.replace(state.file)
    for _ in range(3):
        async with state.database.read() as connection:
            assert await meta.get(connection, "key") == "new"


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


async def test_an_error_does_not_carry_what_was_written(state: State) -> None:
    async def twice() -> None:
        async with state.database.write() as write:
            for _ in range(2):
                await write.connection.execute(sa.text("INSERT INTO meta VALUES ('k', :v)"), {"v": "s3cret"})

    with pytest.raises(sa.exc.IntegrityError) as caught:
        await twice()
    assert "s3cret" not in str(caught.value)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from fixtures.control import add_run, opened

async def main():
    async with opened(Path(sys.argv[1])) as state:
        await add_run(state, "hello")
        print("acknowledged", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_outlives_kill_9(directory: Path) -> None:
    tests = Path(__file__).parents[3]
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", KILLED, str(directory)],
        env={"PYTHONPATH": str(tests)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (died.stdout, died.returncode) == ("acknowledged\n", -9), died.stderr
    async with opened(directory) as state, state.database.read() as connection:
        assert [run.name for run in await runs.list_active(connection)] == ["hello"]


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="unable to open database file"):
        migrate(tmp_path / "nowhere" / "homeport.db")


async def test_reads_go_on_while_a_write_is_open(state: State) -> None:
    await add_run(state)
    async with state.database.write() as write:
        await meta.put_once(write, "a", "b")
        async with state.database.read() as connection:
            assert await meta.get(connection, "a") is None
            assert len(await runs.list_active(connection)) == 1
