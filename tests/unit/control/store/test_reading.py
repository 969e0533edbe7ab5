"""store/reading: what is short is read where it is asked for, what is long or locked in the thread, and nothing is changed."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S, State, migrated, opened
from homeport_control.domain.errors import NotReady
from homeport_control.store import one_trip, reading

COUNTED = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, thread() FROM n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    return file


@pytest.fixture
async def connection(file: Path) -> AsyncIterator[reading.Reading]:
    """With a function `thread()`: who does the work."""
    made = await reading.connect(str(file), timeout=DEADLINE_S, isolation_level=None, check_same_thread=False)
    made._conn.create_function("thread", 0, threading.get_ident)
    yield made
    await made.close()


@pytest.fixture
def whole_file(file: Path) -> Iterator[sqlite3.Connection]:
    """Of another program, that has the file for itself as long as this is open."""
    other = sqlite3.connect(file, isolation_level=None)
    for sql in ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "INSERT INTO t VALUES (7)", "COMMIT"):
        other.execute(sql)
    yield other
    other.close()


async def done(connection: one_trip.OneTrip, sql: str, parameters: Any = ()) -> one_trip.Cursor:
    cursor = connection.cursor()
    return await cursor.execute(sql, parameters)


def test_it_is_one_that_another_program_can_take(whole_file: sqlite3.Connection, file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=0)) as tried, pytest.raises(sqlite3.OperationalError, match="locked"):
        tried.execute("SELECT * FROM t").fetchall()


async def test_a_short_statement_is_done_where_it_is_asked_for(connection: reading.Reading) -> None:
    rows = await (await done(connection, COUNTED, (3,))).fetchall()
    assert rows == [(number, threading.get_ident()) for number in (1, 2, 3)]


async def test_a_long_one_is_done_in_the_thread(connection: reading.Reading) -> None:
    for _ in range(2):
        sql = COUNTED.replace("SELECT i, thread()", "SELECT max(i), min(thread()), max(thread())")
        ((count, *threads),) = await (await done(connection, sql, (reading.STEPS,))).fetchall()
        assert count == reading.STEPS
        assert threading.get_ident() not in threads
    (row,) = await (await done(connection, "SELECT thread()")).fetchall()
    assert row == (threading.get_ident(),), "the next short one is done here again"


@pytest.mark.parametrize("count", [one_trip.FIRST, one_trip.FIRST + 1, 3 * one_trip.FIRST])
async def test_rows_beyond_the_first_come_whole_whoever_brings_them(
    connection: reading.Reading, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thousand come before the limit, and the statement passes it as it goes on."""
    monkeypatch.setattr(reading, "STEPS", 20 * one_trip.FIRST)
    connection.begin(DEADLINE_S)
    found: list[Any] = []
    cursor = await done(connection, COUNTED, (count,))
    while some := await cursor.fetchmany(300):
        found += some
    assert [number for number, _ in found] == list(range(1, count + 1))
    assert found[0][1] == threading.get_ident()
    if count > one_trip.FIRST + 1:  # sqlite3 is a row ahead
        assert found[-1][1] != threading.get_ident()


async def test_others_have_their_turn_while_many_are_read(
    connection: reading.Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "TURN_S", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(10):
        await done(connection, "SELECT 1")
    task.cancel()
    assert turns >= 9


async def test_a_lock_is_waited_for_in_the_thread(connection: reading.Reading, whole_file: sqlite3.Connection) -> None:
    asked = asyncio.create_task(done(connection, "SELECT id, thread() FROM t"))
    for _ in range(20):  # were it waited for here, none of this would go on
        await asyncio.sleep(0)
    assert not asked.done()
    whole_file.close()
    ((number, thread),) = await (await asyncio.wait_for(asked, DEADLINE_S)).fetchall()
    assert number == 7
    assert thread != threading.get_ident()


async def test_who_is_cancelled_while_the_thread_works_leaves_a_connection_that_goes_on(
    connection: reading.Reading, whole_file: sqlite3.Connection
) -> None:
    asked = asyncio.create_task(done(connection, "SELECT id FROM t"))
    for _ in range(20):
        await asyncio.sleep(0)
    asked.cancel()
    whole_file.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await (await done(connection, "SELECT id FROM t")).fetchall() == [(7,)]


async def test_errors_are_sqlites_and_nothing_can_be_changed(connection: reading.Reading) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await done(connection, "SELECT * FROM of_nobody")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await done(connection, "INSERT INTO t VALUES (1)")
    with pytest.raises(
        sqlite3.OperationalError, match="decode"
    ):  # Python's own, of a file that is damaged: it has no code
        await done(connection, "SELECT CAST(x'ff' AS TEXT)")


async def test_who_reads_the_database_cannot_write_it(template: Path, tmp_path: Path) -> None:
    async with opened(migrated(template, tmp_path / "server").parent) as state:
        with pytest.raises(NotReady, match="readonly"):
            async with state.database.read() as connection:
                await connection.execute(sa.text("INSERT INTO meta VALUES ('a', 'b')"))


async def test_a_reader_that_is_cancelled_between_two_statements_takes_nobody_along(state: State) -> None:
    async def reads() -> None:
        async with state.database.read() as connection:
            await connection.execute(sa.text("SELECT 1"))
            await asyncio.get_running_loop().create_future()

    for _ in range(30):  # more than there are connections
        task = asyncio.create_task(reads())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    async with state.database.read() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
