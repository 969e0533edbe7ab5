"""Before a SQLite file is brought to another schema: is it one that this version knows, and a copy of it, to go back to.

Covers the file `homeport.db` and its copies `homeport.db.before-REVISION`: the schema that it was brought to. The newest two
are kept. A migration only goes forward: to go back, the older version is started on the copy. Does not cover
the migration itself (connect.migrate), nor PostgreSQL, nor backups that somebody makes (docs/operations.md).
"""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import alembic.config
import alembic.script

from homeport_control.domain.errors import NotReady

KEPT = 2
SPARE = 2.2  # of the file's size: the copy, and what a migration writes anew
MIB = 1024 * 1024
BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Copied:
    """What a migration is about to change, kept."""

    before: str  # the schema's revision
    after: str
    copy: Path

    def __str__(self) -> str:
        return f"the database was brought from schema {self.before} to {self.after}; as it was before it is kept in {self.copy}"


def prepare(file: Path, version: str) -> Copied | None:
    """Blocking. None: there is nothing to migrate. `version`: this one's, for the words.

    Raises NotReady for a file that a newer version has written, and when a copy cannot be made.
    """
    if not file.exists():
        return None
    try:
        before, wrote = _read(file)
    except sqlite3.OperationalError as error:
        raise NotReady(f"the database cannot be read: {error}; nothing was changed, try again") from error
    except sqlite3.DatabaseError:
        return None  # no database at all: the migration says so
    known = revisions()
    if before and before not in known:
        raise NotReady(_too_new(file, before, wrote, version, known))
    if before in ("", known[-1]):
        return None
    copy = Path(f"{file}.before-{known[-1]}")
    _copy(file, copy)
    for older in sorted(copies(file), key=lambda it: it.stat().st_mtime, reverse=True)[KEPT:]:
        older.unlink(missing_ok=True)
    return Copied(before, known[-1], copy)


def revisions() -> list[str]:
    """The schemas that this version knows, from the first to its own."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    walked = alembic.script.ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in walked][::-1]


def copies(file: Path) -> list[Path]:
    return [it for it in file.parent.glob(f"{file.name}.before-*") if it.suffix != ".new"]


def _read(file: Path) -> tuple[str, str]:
    """Its schema, and the version that started on it last; each empty where it does not say."""
    with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # is it a database, can it be read
        found = []
        for query in ("SELECT version_num FROM alembic_version", "SELECT value FROM meta WHERE key = 'version'"):
            try:
                row = connection.execute(query).fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                row = None
            found.append(str(row[0]) if row else "")
        return found[0], found[1]


def _too_new(file: Path, schema: str, wrote: str, version: str, known: list[str]) -> str:
    by = f" by Homeport {wrote}" if wrote else " by a newer Homeport"
    this = f"this is Homeport {version}, which knows schemas up to {known[-1]}"
    usable = [it for it in copies(file) if _schema_of(it) in known]
    if usable:
        newest = max(usable, key=lambda it: it.stat().st_mtime)
        way = (
            f"or put back the copy from before, {newest.name} (docs/operations.md says how): what changed since is lost"
        )
    else:
        way = "or put back a backup of before the upgrade; no copy that this version can use lies beside it"
    told = f"{file.name} has schema {schema}, written{by}, and {this}; nothing was changed"
    return f"{told}. Start the newer version again, {way}"


def _schema_of(file: Path) -> str:
    try:
        return _read(file)[0]
    except sqlite3.Error:
        return ""


def _copy(file: Path, copy: Path) -> None:
    """While others read and write it, whole or not at all."""
    needed = SPARE * sum(it.stat().st_size for it in (file, Path(f"{file}-wal")) if it.exists())
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise NotReady(
            "the database is to be brought to a new schema and copied before, which takes "
            f"{needed / MIB:.0f} MiB, and {file.parent} has {free / MIB:.0f} MiB free; nothing was changed. Free some "
            "space and start again"
        )
    partial = Path(f"{copy}.new")
    partial.unlink(missing_ok=True)
    try:
        partial.touch(mode=0o600)
        with (
            closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
        with partial.open("rb") as made:
            os.fsync(made.fileno())
        partial.replace(copy)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise NotReady(
            f"the database could not be copied before its migration: {error}; nothing was changed"
        ) from error
