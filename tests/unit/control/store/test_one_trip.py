"""one_trip: a statement is one trip to the thread, with all that SQLAlchemy reads of it afterwards."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from homeport_control.store import one_trip


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[one_trip.OneTrip]:
    opened = await one_trip.connect(str(tmp_path / "a.db"), isolation_level=None, check_same_thread=False)
    yield opened
    await opened.close()


async def done(connection: one_trip.OneTrip, sql: str, parameters: Any = ()) -> one_trip.Cursor:
    cursor = connection.cursor()
    await cursor.__aenter__()
    return await cursor.execute(sql, parameters)


async def test_a_statement_with_its_rows_is_one_trip(
    connection: one_trip.OneTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
    trips = []
    own = connection._execute

    async def counted(work: Any, *arguments: Any) -> Any:
        trips.append(work)
        return await own(work, *arguments)

    monkeypatch.setattr(connection, "_execute", counted)
    cursor = await done(connection, "INSERT INTO t (word) VALUES (?), (?) RETURNING id, word", ("a", "b"))
    assert [column[0] for column in cursor.description] == ["id", "word"]
    assert (await cursor.fetchall(), cursor.rowcount) == ([(1, "a"), (2, "b")], 2)
    assert await cursor.fetchall() == [], "they were taken"
    await cursor.close()
    await connection.rollback()  # of nothing
    assert len(trips) == 1


async def test_what_many_say_and_how_many_were_changed(connection: one_trip.OneTrip) -> None:
    await done(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO t (word) VALUES (?)", [("a",), ("b",), ("c",)])
    assert (cursor.description, cursor.rowcount, await cursor.fetchall()) == (None, 3, [])
    assert (await done(connection, "UPDATE t SET word = 'x' WHERE id > 1")).rowcount == 2
    assert (await done(connection, "INSERT INTO t (word) VALUES ('d')")).lastrowid == 4


async def test_what_was_begun_is_rolled_back_and_errors_are_sqlites(connection: one_trip.OneTrip) -> None:
    await done(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    await done(connection, "BEGIN IMMEDIATE")
    await done(connection, "INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await done(connection, "INSERT INTO t VALUES (1)")
    await connection.rollback()
    assert await (await done(connection, "SELECT * FROM t")).fetchall() == []


NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n"


@pytest.mark.parametrize("count", [one_trip.FIRST - 1, one_trip.FIRST, one_trip.FIRST + 1, 3 * one_trip.FIRST + 7])
async def test_a_long_result_is_whole_and_can_be_read_in_pieces(connection: one_trip.OneTrip, count: int) -> None:
    wanted = [(number,) for number in range(1, count + 1)]
    assert await (await done(connection, NUMBERS, (count,))).fetchall() == wanted
    cursor, found = await done(connection, NUMBERS, (count,)), []
    while some := await cursor.fetchmany(300):
        assert len(some) <= 300
        found += some
    assert found == wanted


async def test_what_is_closed_before_its_end_holds_nothing(connection: one_trip.OneTrip) -> None:
    await done(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    cursor = await done(connection, NUMBERS, (5 * one_trip.FIRST,))
    await cursor.close()
    assert await cursor.fetchall() == []
    await done(connection, "DROP TABLE t")  # is locked while something is read
