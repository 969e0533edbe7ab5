"""The database: one engine, migrations at start, short transactions.

SQLite in WAL mode. Every write transaction is BEGIN IMMEDIATE under one lock of this process, so that two coroutines
never race to upgrade a read into a write (SQLITE_BUSY that no busy_timeout cures: sqlite.org/lang_transaction.html).
`synchronous=FULL`: an acknowledged apply outlives a power cut, not only kill -9.
"""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from homeport_control.domain.errors import NotReady
from homeport_control.store.changes import Changes
from homeport_control.store.patience import PatientConnection
from homeport_control.store.same_file import IS_AWAY, keep_to
from homeport_control.store.schema import events

BUSY_TIMEOUT_S = 5.0


class Write:
    """A write transaction: a connection, the topics that its commit publishes, and who writes because of what.

    `actor` ("user ann", "host gpu-1", "server") and `cause_id` stand in the events that it leaves.
    """

    def __init__(self, connection: AsyncConnection, actor: str, cause_id: str) -> None:
        self.connection = connection
        self.topics: set[str] = set()
        self.actor = actor
        self.cause_id = cause_id
        self.events: list[dict[str, Any]] = []  # rows of `events`, written together before the commit (store/events.py)

    def touch(self, *topics: str) -> None:
        self.topics.update(topics)


class Database:
    """`read()` and `write()` give connections; errors of the engine come out as NotReady with one line."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.changes = Changes()
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with _translated():
            async with PatientConnection(self.engine) as connection:
                yield connection

    @asynccontextmanager
    async def write(self, *, actor: str = "server", cause_id: str = "") -> AsyncIterator[Write]:
        """`cause_id`: what it follows from; a new one without."""
        with _translated():
            async with self._writing, PatientConnection(self.engine) as connection:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
                write = Write(connection, actor, cause_id or uuid.uuid4().hex[:12])
                try:
                    yield write
                    if write.events:
                        await connection.execute(sa.insert(events), write.events)
                except BaseException:
                    with suppress(OperationalError):  # SQLite has rolled back by itself already: a full disk
                        await connection.exec_driver_sql("ROLLBACK")
                    raise
                try:
                    await connection.exec_driver_sql("COMMIT")
                finally:  # also when it was cancelled: it was waited for, and others must see what it wrote
                    self.changes.publish(write.topics)

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        cause = str(error.orig)
        if "locked" in cause:
            hint = "another process holds a write lock on it; try again"
        elif IS_AWAY in cause:
            hint = "put it back; nothing was changed"
        elif "full" in cause:
            hint = "free some space on the disk that holds it; nothing was changed"
        else:
            hint = "look at the server's log; nothing was changed"
        raise NotReady(f"the database cannot be used now: {cause}; {hint}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise NotReady(f"the database went away: {error.orig}; try again") from error
        if type(error.orig) is sqlite3.DatabaseError:  # not one of its children: the file itself is wrong
            raise NotReady(f"the database is damaged: {error.orig}; put back a copy of homeport.db") from error
        raise


def _from_json(text: str) -> Any:
    """Most lists in it are empty; where thousands of rows are read that is a fifth of the time."""
    return [] if text == "[]" else json.loads(text)


def open_database(file: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """An engine on a SQLite file. Starts nothing; call `migrate` first, which makes the file."""
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{file}",
        connect_args={"timeout": busy_timeout_s},
        hide_parameters=True,  # an error's text goes to the log
        json_deserializer=_from_json,
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN and COMMIT ourselves
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    keep_to(engine, file)
    return Database(engine)


def migrate(file: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
    """Bring a database file to the newest schema. Blocking; before the event loop's work starts. Raises NotReady."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["file"], config.attributes["busy_timeout_s"] = file, busy_timeout_s
    try:
        with _translated():
            alembic.command.upgrade(config, "head")
    except alembic.util.CommandError as error:
        raise NotReady(
            f"the database does not fit this version of Homeport: {error}; install the version that wrote it"
        ) from error
