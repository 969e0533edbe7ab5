"""SQLite: the engine on one file, its transactions and the words for its errors.

WAL mode. Every write transaction is BEGIN IMMEDIATE, so that two writers never race to upgrade a read into a write
(SQLITE_BUSY that no busy_timeout cures: sqlite.org/lang_transaction.html).
`synchronous=FULL`: an acknowledged apply outlives a power cut, not only kill -9.
"""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from homeport_control.domain.errors import NotReady
from homeport_control.store import one_trip, reading
from homeport_control.store.changes import Changes
from homeport_control.store.mirror import MIRRORS, Mirrors
from homeport_control.store.patience import PatientConnection
from homeport_control.store.same_file import IS_AWAY, keep_to

CONNECTIONS = 10  # each has a thread


class Sqlite:
    """How a SQLite file is driven. One process writes at a time; topics reach only this process."""

    def __init__(self, file: Path, busy_timeout_s: float) -> None:
        self._file = file
        self._busy_timeout_s = busy_timeout_s
        self._mirrors = Mirrors()

    def engine(self) -> AsyncEngine:
        return self._engine(one_trip.connect)

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        return self._engine(reading.connect)

    def _engine(self, connect: Callable[..., Awaitable[one_trip.OneTrip]]) -> AsyncEngine:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self._file}",
            connect_args={"timeout": self._busy_timeout_s, "async_creator_fn": connect},
            pool_size=CONNECTIONS,  # those beyond are opened and closed for each use
            hide_parameters=True,  # an error's text goes to the log
            json_deserializer=from_json,
            execution_options={MIRRORS: self._mirrors},
        )

        @sa.event.listens_for(engine.sync_engine, "connect")
        def configure(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # we say BEGIN and COMMIT ourselves
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        keep_to(engine, self._file)
        return engine

    def connection(self, engine: AsyncEngine) -> PatientConnection:
        return PatientConnection(engine)

    def reader(self, engine: AsyncEngine) -> AsyncConnection:
        return reading.Reader(engine)

    async def begin_read(self, connection: AsyncConnection) -> None:
        """Nothing: each statement reads what is committed when it begins."""

    async def begin_snapshot(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("BEGIN")

    async def begin_write(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def commit(self, connection: AsyncConnection, topics: Iterable[str]) -> None:
        await connection.exec_driver_sql("COMMIT")

    async def roll_back(self, connection: AsyncConnection) -> None:
        # SQLite has rolled back by itself already: a full disk; or the connection was given up: another file is there now.
        with suppress(OperationalError, PendingRollbackError):
            await connection.exec_driver_sql("ROLLBACK")

    def why_not(self, error: BaseException) -> str:
        """The line for a user, when the database cannot be used; empty: the error is ours."""
        if isinstance(error, OperationalError):
            cause = str(error.orig)
            if "locked" in cause:
                hint = "another process holds a write lock on it; try again"
            elif IS_AWAY in cause:
                hint = "put it back; nothing was changed"
            elif "full" in cause:
                hint = "free some space on the disk that holds it; nothing was changed"
            else:
                hint = "look at the server's log; nothing was changed"
            return f"the database cannot be used now: {cause}; {hint}"
        if isinstance(error, DBAPIError):
            if error.connection_invalidated:
                return f"the database went away: {error.orig}; try again"
            if type(error.orig) is sqlite3.DatabaseError:  # not one of its children: the file itself is wrong
                return f"the database is damaged: {error.orig}; put back a copy of homeport.db"
        return ""

    def lease(self) -> None:
        """One server, which leads."""

    async def listen(self, changes: Changes) -> None:
        """Nothing to hear: there is no other server on the same file."""


def copy_file(source: Path, target: Path, *, busy_timeout_s: float) -> None:
    """A whole copy of one moment, while others read and write. Blocking. Raises NotReady."""
    driver = Sqlite(source, busy_timeout_s)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=busy_timeout_s)) as one:
            one.execute("VACUUM INTO ?", (str(target),))
        check_file(target)
    except sqlite3.DatabaseError as error:
        raise NotReady(driver.why_not(as_sqlalchemys(error)) or str(error)) from error


def settle_file(file: Path) -> None:
    """All of it in the one file, nothing beside it. Nobody has it open."""
    with closing(sqlite3.connect(file)) as one:
        one.execute("PRAGMA journal_mode=DELETE")


def check_file(file: Path) -> None:
    """Raises NotReady for one that is damaged."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True)) as one:
            found = [str(row[0]) for row in one.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise NotReady(f"the database is damaged: {found[0]}; put back a copy of homeport.db")


def as_sqlalchemys(error: sqlite3.DatabaseError) -> DBAPIError:
    kind = OperationalError if isinstance(error, sqlite3.OperationalError) else DBAPIError
    return kind(None, None, error)


def from_json(text: str) -> Any:
    """Most lists in it are empty; where thousands of rows are read that is a fifth of the time."""
    return [] if text == "[]" else json.loads(text)
