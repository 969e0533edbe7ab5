"""PostgreSQL: the engine, its transactions, deadlines, and the words for its errors.

One writer at a time, of all servers on the database: each write transaction first takes one advisory lock. All code that
writes reads first and decides on what it read, and readers of events go on after the last id that they saw, which is right
only when ids become visible in their order: SQLite gives both, row locks would give neither. READ COMMITTED, so that what
is read after the lock was waited for is what the writer before has left; in REPEATABLE READ it would be what was there
before the wait.

Reads are AUTOCOMMIT: each statement sees what is committed when it begins, as with SQLite here, and needs no round trip more.

Nothing waits without an end: PostgreSQL ends statements and waits for locks, the client ends a call that a frozen or
unreachable database does not answer, and a server that freezes or vanishes with the lock loses its session, and so the lock.
"""

import asyncio
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy import CursorResult
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from homeport_control.domain.errors import NotReady
from homeport_control.store.changes import Changes
from homeport_control.store.leadership import LeaseConnection, application_name
from homeport_control.store.listening import CHANNEL, Listening, payloads
from homeport_control.store.locks import WRITE_LOCK
from homeport_control.store.mirror import MIRRORS, Mirrors
from homeport_control.store.patience import PatientConnection, finished
from homeport_control.store.sqlite import from_json

CONNECTIONS, MORE_CONNECTIONS = (
    10,
    10,
)  # kept, and more for a moment; PostgreSQL allows 100 of all its clients by default
WAIT_FOR_CONNECTION_S = 10.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """No wait without one; all in seconds."""

    lock_s: float = 5.0  # a writer waits for the one before it
    statement_s: float = 15.0
    answer_s: float = (
        20.0  # the client's own patience, for a database that says nothing at all: more than a statement's
    )
    connect_s: float = 5.0
    idle_s: float = 20.0  # a server that stands still in the middle of a transaction lets others write after this


class Postgresql:
    """How a PostgreSQL database is driven."""

    def __init__(self, url: str, deadlines: Deadlines) -> None:
        self._url = url
        self._deadlines = deadlines
        self._server = uuid.uuid4().hex[:12]  # this process
        self._listening = Listening(self.connect)
        self._mirrors = Mirrors()

    async def connect(self, **settings: str) -> asyncpg.Connection:
        """A connection with our deadlines; `settings` of PostgreSQL besides."""
        deadlines = self._deadlines
        return await asyncpg.connect(
            self._url,
            timeout=deadlines.connect_s,
            command_timeout=deadlines.answer_s,
            server_settings={
                "application_name": application_name(self._server),
                "default_transaction_isolation": "read committed",
                "lock_timeout": _ms(deadlines.lock_s),
                "statement_timeout": _ms(deadlines.statement_s),
                "idle_in_transaction_session_timeout": _ms(deadlines.idle_s),
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "3",
                "tcp_keepalives_count": "3",
                **settings,
            },
        )

    def engine(self) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            pool_size=CONNECTIONS,
            max_overflow=MORE_CONNECTIONS,
            pool_timeout=WAIT_FOR_CONNECTION_S,
            execution_options={MIRRORS: self._mirrors},
            hide_parameters=True,  # an error's text goes to the log
            json_deserializer=from_json,
        )

        @sa.event.listens_for(engine.sync_engine, "checkout")
        def is_open(connection: Any, _record: object, _proxy: object) -> None:
            """What a restart of PostgreSQL has closed is not used any more. The socket says it: no round trip for each use."""
            if connection.driver_connection.is_closed():
                raise DisconnectionError("PostgreSQL has closed this connection")

        return engine

    def connection(self, engine: AsyncEngine) -> PatientConnection:
        return _Connection(engine)

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        return engine

    def reader(self, engine: AsyncEngine) -> AsyncConnection:
        return self.connection(engine)

    async def begin_read(self, connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def begin_snapshot(self, connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def begin_write(self, connection: AsyncConnection) -> None:
        await take_write_lock(connection)

    async def commit(self, connection: AsyncConnection, topics: Iterable[str]) -> None:
        """Topics go out with it. To its end, also when who waits is cancelled meanwhile."""
        await finished(self._commit(connection, payloads(self._listening.origin, topics)))

    async def _commit(self, connection: AsyncConnection, told: list[str]) -> None:
        if told:
            query = sa.text(f"SELECT pg_notify('{CHANNEL}', told) FROM unnest(CAST(:told AS text[])) AS told")  # noqa: S608
            await connection.execute(query, {"told": told})
        await connection.commit()

    async def roll_back(self, connection: AsyncConnection) -> None:
        with suppress(SQLAlchemyError, NotReady):  # it is away: that rolls back too
            await connection.rollback()

    def why_not(self, error: BaseException) -> str:
        """The line for a user, when the database cannot be used; empty: the error is ours."""
        if isinstance(error, PoolTimeout):
            return "the database is too slow now: no connection to it became free in time; try again"
        if not isinstance(error, DBAPIError):
            return ""
        cause: BaseException = getattr(error.orig, "__cause__", None) or error.orig or error
        return why_not(cause) or (_away(cause) if error.connection_invalidated else "")

    def lease(self) -> LeaseConnection:
        return LeaseConnection(self.connect, self._server, why_not)

    async def listen(self, changes: Changes) -> None:
        """Hear what other servers change, for as long as the process runs."""
        await self._listening.run(changes)


async def take_write_lock(connection: AsyncConnection) -> None:
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITE_LOCK)))


def why_not(error: BaseException) -> str:
    """The same for an error of asyncpg or of the connection itself."""
    if isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError)):
        return _away(error)
    state = str(getattr(error, "sqlstate", "") or "")
    hint = _HINTS.get(state) or _HINTS.get(state[:2])
    if hint is None:
        return ""
    return f"the database cannot be used now: {first_line(error)}; {hint}"


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _away(error: BaseException) -> str:
    what = "it does not answer" if isinstance(error, TimeoutError) else first_line(error)
    return f"the database is away: {what}; services go on, try again when PostgreSQL runs"


_AGAIN = "nothing was changed, try again"
_LOG_IN = "put user and password right in the server's --database-file"
_HINTS = {  # SQLSTATE, or its class
    "08": "try again when PostgreSQL runs",
    "28": _LOG_IN,
    "3D000": "make that database, or put its name right in the server's --database-file",
    "25006": "it takes no writes: name the primary in the server's --database-file",
    "25P03": "a server stood still in the middle of a change; " + _AGAIN,
    "42501": "its user must own the database",
    "0A000": "its schema was changed just now; try again",
    "40": _AGAIN,
    "42P01": "its tables are gone; restore a backup",
    "53": "look at PostgreSQL: disk, memory and max_connections; nothing was changed",
    "54": "look at PostgreSQL's log; nothing was changed",
    "55P03": "another server holds its write lock; try again",
    "57": "try again when PostgreSQL runs",
    "57014": "it was too slow; " + _AGAIN,
    "58": "look at PostgreSQL's log and its disk; nothing was changed",
    "XX": "look at PostgreSQL's log; nothing was changed",
}


class _Connection(PatientConnection):
    """A call that is not answered in time comes out as NotReady, and its connection is not used again."""

    __slots__ = ()

    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:
        try:
            return await super().start(is_ctxmanager)
        except OSError as error:  # TimeoutError too; SQLAlchemy leaves both as they are
            raise NotReady(_away(error)) from error

    async def execute(self, *arguments: Any, **named: Any) -> CursorResult[Any]:
        try:
            return await super().execute(*arguments, **named)
        except OSError as error:
            await self._drop()
            raise NotReady(_away(error)) from error

    async def commit(self) -> None:
        try:
            await super().commit()
        except OSError as error:
            await self._drop()
            raise NotReady(_away(error)) from error

    async def _drop(self) -> None:
        """At once: to roll back in a database that does not answer would take as long again."""
        if self.invalidated:
            return
        driver: asyncpg.Connection = (await self.get_raw_connection()).driver_connection
        driver.terminate()
        await asyncio.shield(self.invalidate())


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
