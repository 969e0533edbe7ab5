"""`homeport server move`, `backup` and `restore`: what is done with a server's state while it does not run, or beside it.

Covers the steps and their order. Rows: store/copying.py; the file of a backup: store/archive.py.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control import __version__
from homeport_control.app import only_server
from homeport_control.domain.errors import Conflict, NotFound
from homeport_control.settings import ServerSettings
from homeport_control.store import archive, copying, events, meta, place, sessions, sqlite
from homeport_control.store.archive import Manifest
from homeport_control.store.connect import (
    BUSY_TIMEOUT_S,
    Database,
    is_known_schema,
    migrate,
    newest_schema,
    open_database,
)
from homeport_control.store.place import Place
from homeport_control.trust.ca import write_private

STAYS = frozenset({"server.lock", place.FILE})  # of a state directory, whatever is restored into it
TEMPORARY, ASIDE = ".restoring", "before-restore-"


@asynccontextmanager
async def _open(where: Place) -> AsyncIterator[Database]:
    database = open_database(where)
    try:
        yield database
    finally:
        await database.close()


async def move(settings: ServerSettings, to: str) -> Mapping[str, int]:
    """Copy the database to another place, from which the next start goes on. Returns rows by table.

    `to`: PostgreSQL's URL, or "sqlite". What is copied stays as it is. Raises Conflict, NotReady.
    """
    source = settings.database
    target: Place = settings.state_dir / archive.DATABASE if to == "sqlite" else place.parse(to)
    if source == target:
        raise Conflict(f"the database is on {place.shown(target)} already")
    with only_server(settings.state_dir):
        await _must_exist(source)
        await _prepare(target)
        async with _open(source) as old, _open(target) as new, new.write() as write:
            await copying.must_be_empty(write.connection, target)
            async with old.snapshot() as snapshot:
                await copying.must_be_newest(snapshot, source)
                await copying.must_be_alone(snapshot, source)
                rows = await copying.copy(snapshot, write)
            server_id = await meta.get(write.connection, "server_id") or ""
            sentence = f"the database was moved from {place.shown(source)} to {place.shown(target)}"
            events.record(write, kind="server", object_id=server_id, name="server", sentence=sentence)
        remember(settings.state_dir, target)
    return rows


def remember(state_dir: Path, where: Place) -> None:
    """So that a start that is told no database finds this one, and never goes on with the old one beside it."""
    file = state_dir / place.FILE
    if isinstance(where, str):
        write_private(file, f"{where}\n".encode())
    else:
        file.unlink(missing_ok=True)


async def backup(settings: ServerSettings, file: Path) -> tuple[Manifest, int]:
    """All that a server is, in one file; it may run meanwhile. Returns what is in it, and its size in bytes."""
    if await asyncio.to_thread(file.exists):
        raise Conflict(f"{file} is there already; choose another name")
    await _must_exist(settings.database)
    copied = file.with_name(f".{file.name}.db")
    copied.unlink(missing_ok=True)
    os.close(os.open(copied, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite keeps the mode of what is there
    try:
        await _copy_to_file(settings.database, copied)
        async with _open(copied) as database, database.read() as connection:
            manifest = Manifest(
                server_id=await meta.get(connection, "server_id") or "",
                version=__version__,
                schema=await copying.schema_of(connection) or "",
                made_at_s=time.time(),
                rows=await copying.counts(connection) if await _is_newest(connection) else {},
            )
        await asyncio.to_thread(sqlite.settle_file, copied)
        return manifest, await asyncio.to_thread(archive.write, file, settings.state_dir, copied, manifest)
    finally:
        for path in file.parent.glob(f"{copied.name}*"):
            path.unlink(missing_ok=True)


async def restore(settings: ServerSettings, file: Path, *, force: bool) -> tuple[Manifest, Path | None]:
    """Make the state directory, and the database wherever it is, what the backup says.

    With `force` what is there is put aside, into a folder that is returned; rows in PostgreSQL are deleted. Raises
    BadRequest, Conflict, NotReady.
    """
    state_dir = settings.state_dir
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_server(state_dir):
        new = state_dir / TEMPORARY
        shutil.rmtree(new, ignore_errors=True)
        there = [it for it in state_dir.iterdir() if it.name not in STAYS and not it.name.startswith(ASIDE)]
        if there and not force:
            raise Conflict(f"{state_dir} is not empty; --force puts aside what is in it")
        new.mkdir(mode=0o700)
        try:
            manifest = await asyncio.to_thread(archive.unpack, file, new)
            await _make_usable(new / archive.DATABASE, manifest)
            if isinstance(settings.database, str):
                await _fill(settings.database, new / archive.DATABASE, force=force)
                (new / archive.DATABASE).unlink()
            aside = await asyncio.to_thread(_exchange, state_dir, there, new)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return manifest, aside


async def _make_usable(file: Path, manifest: Manifest) -> None:
    """At the newest schema, and ahead of what hosts have heard."""
    await asyncio.to_thread(sqlite.check_file, file)
    if not is_known_schema(manifest.schema):
        raise Conflict(
            f"the backup's schema {manifest.schema} is not known to this version, {__version__}; "
            f"restore it with Homeport {manifest.version} or a newer one"
        )
    await asyncio.to_thread(migrate, file)
    async with _open(file) as database, database.write() as write:
        await sessions.after_restore(write, time.time())
        made = datetime.fromtimestamp(manifest.made_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        sentence = f"the server was restored from a backup of {made}: what happened after that it does not know"
        events.record(write, kind="server", object_id=manifest.server_id, name="server", sentence=sentence)
    await asyncio.to_thread(sqlite.settle_file, file)


async def _fill(url: str, file: Path, *, force: bool) -> None:
    """PostgreSQL gets the rows of the file."""
    await _prepare(url)
    async with _open(file) as source, _open(url) as target, target.write() as write:
        await copying.must_be_alone(write.connection, url)
        if force:
            await copying.clear(write)
        await copying.must_be_empty(write.connection, url)
        async with source.snapshot() as snapshot:
            await copying.copy(snapshot, write)


async def _prepare(target: Place) -> None:
    """A database with the newest schema. Raises Conflict for one that is somebody else's, or another version's."""
    if isinstance(target, str) or target.exists():
        async with _open(target) as database, database.read() as connection:
            if await copying.schema_of(connection) is not None:
                await copying.must_be_newest(connection, target)
                return
    await asyncio.to_thread(migrate, target)
    if isinstance(target, Path):
        target.chmod(0o600)


async def _must_exist(where: Place) -> None:
    """Raises NotFound: SQLite would make an empty one."""
    if isinstance(where, Path) and not where.exists():
        raise NotFound(f"there is no database at {where}; is --state-dir right?")


async def _copy_to_file(source: Place, target: Path) -> None:
    if isinstance(source, Path):
        await asyncio.to_thread(sqlite.copy_file, source, target, busy_timeout_s=BUSY_TIMEOUT_S)
        return
    await asyncio.to_thread(migrate, target)
    async with _open(source) as old, _open(target) as new, old.snapshot() as snapshot, new.write() as write:
        await copying.must_be_newest(snapshot, source)
        await copying.copy(snapshot, write)


async def _is_newest(connection: AsyncConnection) -> bool:
    return await copying.schema_of(connection) == newest_schema()


def _exchange(state_dir: Path, there: list[Path], new: Path) -> Path | None:
    aside = None
    if there:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        aside = state_dir / f"{ASIDE}{stamp}"
        aside.mkdir(mode=0o700)
        for path in there:
            path.rename(aside / path.name)
    for path in sorted(new.iterdir()):
        path.rename(state_dir / path.name)
    return aside
