"""A SQLite database without threads: each statement is done where it is asked for, so equal seeds give equal stories.

Covers what SQLAlchemy's aiosqlite dialect needs of a connection, and the points between two statements at which a server can
be killed: `Power.strike` says whether this is one. What was not committed is rolled back then, as a kernel does it.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from homeport_control.store.connect import Database, migrate
from homeport_control.store.mirror import MIRRORS
from homeport_control.store.sqlite import Sqlite, from_json
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

SHM = Path("/dev/shm")


# What no transaction may do, held by the database itself: who tries raises, and the world has gone wrong. The numbers are those
# of DESIGN section 5.
LAWS = """
CREATE TRIGGER law_3_host BEFORE INSERT ON reservations
WHEN EXISTS (SELECT 1 FROM hosts WHERE id = NEW.host_id AND (cordoned OR connection != 'connected'))
BEGIN SELECT RAISE(ABORT, 'law 3: a host that is drained or away gets something new'); END;
CREATE TRIGGER law_3_gpu BEFORE INSERT ON reservations
WHEN EXISTS (
    SELECT 1 FROM hosts, json_each(hosts.findings) finding, json_each(NEW.gpu_uuids) gpu
    WHERE hosts.id = NEW.host_id AND json_extract(finding.value, '$.severity') = 'failing'
    AND json_extract(finding.value, '$.gpu_uuid') IN (gpu.value, ''))
BEGIN SELECT RAISE(ABORT, 'law 3: a GPU that fails gets something new'); END;
CREATE TRIGGER law_5 BEFORE UPDATE OF sequence ON hosts
WHEN NEW.boot_id = OLD.boot_id AND NEW.sequence <= OLD.sequence
BEGIN SELECT RAISE(ABORT, 'law 5: an older report changes something'); END;
CREATE TRIGGER law_generation BEFORE UPDATE OF generation ON hosts WHEN NEW.generation < OLD.generation
BEGIN SELECT RAISE(ABORT, 'law: a generation goes back'); END;
CREATE TRIGGER law_9 BEFORE DELETE ON revisions
BEGIN SELECT RAISE(ABORT, 'law 9: a revision is deleted'); END;
CREATE TRIGGER law_end BEFORE UPDATE ON replicas WHEN OLD.ended_at_s IS NOT NULL AND NEW.version = OLD.version
BEGIN SELECT RAISE(ABORT, 'law: a replica that has ended changes'); END;
CREATE TRIGGER law_back BEFORE UPDATE OF wanted ON replicas
WHEN (OLD.wanted = 'stop' AND NEW.wanted != 'stop') OR (OLD.wanted = 'drain' AND NEW.wanted = 'run')
BEGIN SELECT RAISE(ABORT, 'law: a replica that is on its way out is wanted again'); END;
CREATE TRIGGER law_host BEFORE UPDATE OF host_id ON replicas
WHEN OLD.host_id IS NOT NULL AND NEW.host_id IS NOT OLD.host_id
BEGIN SELECT RAISE(ABORT, 'law: a replica moves from its host'); END;
CREATE TRIGGER law_run BEFORE UPDATE ON runs
WHEN OLD.ended_at_s IS NOT NULL AND NEW.ended_at_s IS NULL OR OLD.wanted != 'run' AND NEW.wanted = 'run'
BEGIN SELECT RAISE(ABORT, 'law 9: a run that was stopped is wanted again'); END;
-- Each of these is told in an event: counted here, compared at the end of a world.
CREATE TABLE sim_told (object_id TEXT NOT NULL);
CREATE TRIGGER told_replica AFTER UPDATE ON replicas
WHEN OLD.wanted != NEW.wanted OR OLD.lost != NEW.lost OR OLD.ended_at_s IS NOT NEW.ended_at_s
OR OLD.in_rotation != NEW.in_rotation OR (OLD.phase != NEW.phase AND NEW.phase IN ('ready', 'unready', 'failed'))
BEGIN INSERT INTO sim_told VALUES (NEW.id); END;
CREATE TRIGGER told_host AFTER UPDATE ON hosts WHEN OLD.connection != NEW.connection OR OLD.cordoned != NEW.cordoned
BEGIN INSERT INTO sim_told VALUES (NEW.id); END;
CREATE TRIGGER told_run AFTER UPDATE ON runs WHEN OLD.wanted != NEW.wanted OR OLD.state != NEW.state
BEGIN INSERT INTO sim_told VALUES (NEW.id); END;
"""


class Power:
    """Whether the server that uses these connections lives. `at`: called before and after each statement, with its text."""

    def __init__(self, at: Callable[[str, str], bool], pause_s: Callable[[], float] = lambda: 0.0) -> None:
        """`pause_s`: how long a statement takes; others go on meanwhile."""
        self._at = at
        self._pause_s = pause_s
        self.is_on = True
        self._open: list[sqlite3.Connection] = []

    def opened(self, connection: sqlite3.Connection) -> None:
        self._open.append(connection)

    async def strike(self, when: str, sql: str) -> None:
        """Returns unless the server dies here: then never."""
        if self.is_on and self._at(when, sql):
            self.cut()
        if self.is_on and when == "before" and (pause_s := self._pause_s()):
            await asyncio.sleep(pause_s)
        if not self.is_on:
            await asyncio.get_running_loop().create_future()

    def cut(self) -> None:
        self.is_on = False
        for connection in self._open:
            with suppress(sqlite3.Error):
                connection.rollback()
            connection.close()
        self._open.clear()


class _Cursor:
    def __init__(self, power: Power, connection: sqlite3.Connection | None) -> None:
        self._power = power
        self._connection = connection
        self._cursor: sqlite3.Cursor
        self.description, self.rowcount, self.lastrowid = None, -1, None
        self.arraysize = 1

    async def __aenter__(self) -> "_Cursor":
        if self._connection is None or not self._power.is_on:
            await asyncio.get_running_loop().create_future()
        assert self._connection is not None
        self._cursor = self._connection.cursor()
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> "_Cursor":
        await self._power.strike("before", sql)
        self._cursor.execute(sql, parameters or ())
        self._seen()
        await self._power.strike("after", sql)
        return self

    async def executemany(self, sql: str, parameters: Any) -> "_Cursor":
        await self._power.strike("before", sql)
        self._cursor.executemany(sql, parameters)
        self._seen()
        return self

    def _seen(self) -> None:
        it = self._cursor
        self.description, self.rowcount, self.lastrowid = it.description, it.rowcount, it.lastrowid

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        with suppress(sqlite3.Error):
            self._cursor.close()


class _Connection:
    """In place of an aiosqlite.Connection."""

    def __init__(self, power: Power, file: Path) -> None:
        self._power = power
        self._connection: sqlite3.Connection | None = None
        self._file = file
        self._conn = self

    async def _open(self) -> "_Connection":
        await self._power.strike("before", "open")
        self._connection = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        self._power.opened(self._connection)
        cursor = self._connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        return self

    def __await__(self) -> Any:
        return self._open().__await__()

    @property
    def isolation_level(self) -> None:
        return None

    def cursor(self, *_: Any, **__: Any) -> _Cursor:
        return _Cursor(self._power, self._connection)

    async def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        return await self.cursor().execute(sql, parameters)

    async def rollback(self) -> None:
        if self._connection is not None and self._power.is_on:
            self._connection.rollback()

    async def commit(self) -> None:
        if self._connection is not None and self._power.is_on:
            self._connection.commit()

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()

    async def create_function(self, *_: Any, **__: Any) -> None:
        """SQLAlchemy gives SQLite regular expressions; nothing of ours asks for them."""


class _Inline(Sqlite):
    """The product's own driver, on connections without a thread."""

    def __init__(self, file: Path, power: Power) -> None:
        super().__init__(file, busy_timeout_s=0.0)
        self._power, self._where = power, file

    def engine(self) -> AsyncEngine:
        return create_async_engine(
            f"sqlite+aiosqlite:///{self._where}",
            async_creator=lambda *_, **__: _Connection(self._power, self._where),
            hide_parameters=True,
            json_deserializer=from_json,
            pool_size=10,
            execution_options={MIRRORS: self._mirrors},
        )

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        return engine

    def reader(self, engine: AsyncEngine) -> AsyncConnection:
        return self.connection(engine)


def open_inline(file: Path, power: Power) -> Database:
    return Database(_Inline(file, power))


class Folder:
    """Where the databases of this process lie: in memory. One migrated template, a copy for each world."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="homeport-sim-", dir=SHM if SHM.is_dir() else None)
        self.path = Path(self._temporary.name)
        self.template = self.path / "template.db"
        migrate(self.template)
        with sqlite3.connect(self.template) as connection:
            connection.executescript(LAWS)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def fresh(self) -> Path:
        file = self.path / "world.db"
        for old in self.path.glob("world.db*"):
            old.unlink()
        shutil.copy(self.template, file)
        return file

    def close(self) -> None:
        self._temporary.cleanup()


def dump(file: Path, tables: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that are committed, by table."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        names = tables or tuple(it.name for it in _tables())
        found = {name: list(connection.execute(f'SELECT * FROM "{name}"')) for name in names}  # noqa: S608
    connection.close()
    return found


def _tables() -> list[sa.Table]:
    from homeport_control.store.schema import metadata

    return list(metadata.sorted_tables)
