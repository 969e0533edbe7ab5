"""Connections to SQLite with which a statement is one trip to the connection's thread.

aiosqlite makes one for the cursor, one for the statement, one for its rows and one to close it, and each waits for its turn on
the event loop: with a thousand agents that is most of what a short answer takes. Here the thread does all four at once. Of a
long result it brings the first rows, and the rest, or piece by piece, when it is asked for. For SQLAlchemy's dialect, which
asks for no more than this.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiosqlite

FIRST = 1000  # rows

Parameters = Sequence[Any]
T = TypeVar("T")
C = TypeVar("C", bound="OneTrip")


async def connect(file: str, **arguments: Any) -> "OneTrip":
    """`arguments`: of sqlite3.connect."""
    return await connected(OneTrip, file, **arguments)


async def connected(kind: type[C], file: str, **arguments: Any) -> C:
    """A connection of this kind."""
    connection = kind(lambda: sqlite3.connect(file, **arguments), iter_chunk_size=64)
    connection._thread.daemon = True  # as SQLAlchemy does with aiosqlite's own
    await connection
    return connection


@dataclass(slots=True)
class _Found:
    """`left`: the cursor, when there may be more rows."""

    columns: Any
    rows: list[Any]
    changed: int
    last_id: int | None
    left: sqlite3.Cursor | None


class OneTrip(aiosqlite.Connection):
    def cursor(self) -> "Cursor":  # type: ignore[override]
        return Cursor(self)

    async def rollback(self) -> None:
        """Of nothing it is no trip: each read ends with one."""
        if self.in_transaction:
            await super().rollback()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A statement, and the first of what it found. By the connection's thread."""
        return await self.go_on(work)

    async def go_on(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """With what was found before. By the connection's thread."""
        found: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return found


class Cursor:
    """One statement, and then its rows."""

    arraysize = 1

    def __init__(self, connection: OneTrip) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self._left: sqlite3.Cursor | None = None
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> "Cursor":
        return self

    async def execute(self, sql: str, parameters: Parameters = ()) -> "Cursor":
        self._took(await self._connection.do(lambda it: _begun(it.execute(sql, parameters), FIRST)))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Parameters]) -> "Cursor":
        self._took(await self._connection.do(lambda it: _begun(it.executemany(sql, parameters), FIRST)))
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if (left := self._left) is not None:
            self._took(await self._connection.go_on(lambda _: _begun(left, None)))
            rows, self._rows = rows + self._rows, []
        return rows

    async def fetchmany(self, size: int = FIRST) -> list[Any]:
        if not self._rows and (left := self._left) is not None:
            self._took(await self._connection.go_on(lambda _: _begun(left, max(size, FIRST))))
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def close(self) -> None:
        self._rows = []
        if (left := self._left) is not None:
            self._left = None
            await self._connection.go_on(lambda _: _begun(left, 0))

    def _took(self, found: _Found) -> None:
        self._rows, self._left = found.rows, found.left
        self.description, self.rowcount, self.lastrowid = found.columns, found.changed, found.last_id


def _begun(cursor: sqlite3.Cursor, most: int | None) -> _Found:
    """The next rows, at most so many; it is closed when no more are there, and for 0."""
    left: sqlite3.Cursor | None = None
    try:
        columns = cursor.description
        rows = [] if columns is None or most == 0 else cursor.fetchall() if most is None else cursor.fetchmany(most)
        if most and len(rows) == most:
            left = cursor
        return _Found(columns, rows, cursor.rowcount, cursor.lastrowid, left)
    finally:
        if left is None:
            cursor.close()
