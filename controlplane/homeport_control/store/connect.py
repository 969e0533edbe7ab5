"""The database: one engine, migrations at start, short transactions; a SQLite file or PostgreSQL.

Every write transaction holds the one write lock of the database, under one lock of this process, so that two coroutines
wait here and not in the database. How each of the two does it: sqlite.py, postgresql.py.
"""

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from homeport_control.domain.errors import NotReady
from homeport_control.store.changes import Changes
from homeport_control.store.leadership import LeaseConnection
from homeport_control.store.mirror import IS_WRITING
from homeport_control.store.patience import PatientConnection
from homeport_control.store.place import Place
from homeport_control.store.postgresql import Deadlines, Postgresql, take_write_lock, why_not
from homeport_control.store.schema import events
from homeport_control.store.sqlite import Sqlite

BUSY_TIMEOUT_S = 5.0
MIGRATION_S = 600.0  # on PostgreSQL: the wait for one that another server does, and each statement of it


class Driver(Protocol):
    """What SQLite and PostgreSQL do differently."""

    def engine(self) -> AsyncEngine: ...
    def connection(self, engine: AsyncEngine) -> PatientConnection: ...
    def reading(self, engine: AsyncEngine) -> AsyncEngine: ...
    def reader(self, engine: AsyncEngine) -> AsyncConnection: ...
    async def begin_read(self, connection: AsyncConnection) -> None: ...
    async def begin_snapshot(self, connection: AsyncConnection) -> None: ...
    async def begin_write(self, connection: AsyncConnection) -> None: ...
    async def commit(self, connection: AsyncConnection, topics: Iterable[str]) -> None: ...
    async def roll_back(self, connection: AsyncConnection) -> None: ...
    def why_not(self, error: BaseException) -> str: ...
    async def listen(self, changes: Changes) -> None: ...
    def lease(self) -> LeaseConnection | None: ...


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
    """`read()` and `write()` give connections; errors of the database come out as NotReady with one line."""

    def __init__(self, driver: Driver) -> None:
        self.engine = driver.engine()
        self._reading = driver.reading(self.engine)  # the same one, where reading is no less work with another
        self.changes = Changes()
        self._driver = driver
        self._writing = asyncio.Lock()
        self._fence: Callable[[AsyncConnection], Awaitable[None]] | None = None

    def fenced(self, fence: "Callable[[AsyncConnection], Awaitable[None]]") -> "Database":
        """The same database for who may write only under a condition: each write begins with that check, which raises."""
        fenced = copy.copy(self)
        fenced._fence = fence
        return fenced

    def lease(self) -> LeaseConnection | None:
        """For the one among several servers that leads; None: with SQLite there is one server, and it does."""
        return self._driver.lease()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with _translated(self._driver):
            async with self._driver.reader(self._reading) as connection:
                await self._driver.begin_read(connection)
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """For who copies all of it, or reads it in pieces: every statement sees the same moment. Nobody waits for it."""
        with _translated(self._driver):
            async with self._driver.connection(self.engine) as connection:
                await self._driver.begin_snapshot(connection)
                try:
                    yield connection
                finally:
                    await self._driver.roll_back(connection)

    @asynccontextmanager
    async def write(self, *, actor: str = "server", cause_id: str = "") -> AsyncIterator[Write]:
        """`cause_id`: what it follows from; a new one without."""
        driver = self._driver
        with _translated(driver):
            async with self._writing, driver.connection(self.engine) as connection:
                write = Write(connection, actor, cause_id or uuid.uuid4().hex[:12])
                try:
                    await connection.execution_options(**{IS_WRITING: True})
                    await driver.begin_write(connection)
                    if self._fence is not None:
                        await self._fence(connection)
                    yield write
                    if write.events:
                        await connection.execute(sa.insert(events), write.events)
                except BaseException:
                    await driver.roll_back(connection)
                    raise
                try:
                    await driver.commit(connection, write.topics)
                finally:  # also when it was cancelled: it was waited for, and others must see what it wrote
                    self.changes.publish(write.topics)

    async def listen(self) -> None:
        """Publish here what other servers change, for as long as it runs; with SQLite there are none, and it returns."""
        await self._driver.listen(self.changes)

    async def close(self) -> None:
        await self._reading.dispose()
        await self.engine.dispose()


@contextmanager
def _translated(driver: Driver) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        if line := driver.why_not(error):
            raise NotReady(line) from error
        raise


def open_database(place: Place, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """A SQLite file, which need not exist, or PostgreSQL's URL. Starts nothing; call `migrate` first.

    `busy_timeout_s`: how long a writer waits for another process that writes.
    """
    return Database(_driver(place, busy_timeout_s))


def _driver(place: Place, busy_timeout_s: float) -> Driver:
    if isinstance(place, Path):
        return Sqlite(place, busy_timeout_s)
    return Postgresql(place, Deadlines(lock_s=busy_timeout_s))


def migrate(place: Place, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
    """Bring a database to the newest schema. Blocking, and not in an event loop's thread. Raises NotReady."""
    try:
        if isinstance(place, Path):
            with _translated(_driver(place, busy_timeout_s)):
                alembic.command.upgrade(alembic_config(file=place, busy_timeout_s=busy_timeout_s), "head")
        else:
            patient = Deadlines(MIGRATION_S, statement_s=MIGRATION_S, answer_s=MIGRATION_S, idle_s=MIGRATION_S)
            asyncio.run(_migrate_postgresql(Postgresql(place, patient)))
    except alembic.util.CommandError as error:
        raise NotReady(
            f"the database does not fit this version of Homeport: {error}; install the version that wrote it"
        ) from error


async def _migrate_postgresql(driver: Postgresql) -> None:
    """All of it in one transaction, under the write lock: of two servers that start, one does it and one finds it done."""
    engine = driver.engine()
    try:
        with _translated(driver):
            async with driver.connection(engine) as connection:
                await take_write_lock(connection)
                await connection.run_sync(
                    lambda it: alembic.command.upgrade(alembic_config(connection=it), "head"),
                )
                await connection.commit()
    except (OSError, TimeoutError) as error:
        raise NotReady(why_not(error)) from error
    finally:
        await engine.dispose()


def newest_schema() -> str:
    """The version that `migrate` brings a database to."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def is_known_schema(version: str) -> bool:
    """Whether `migrate` can go on from there."""
    return version in {it.revision for it in ScriptDirectory.from_config(alembic_config()).walk_revisions()}


def alembic_config(**attributes: Any) -> alembic.config.Config:
    """For the file (`file`, `busy_timeout_s`) or the `connection` that migrations/env.py is to use."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes.update(attributes)
    return config
