"""store/before_migration: a copy before each migration, and plain words for a file of a newer version."""

import os
import sqlite3
import stat
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import alembic.command
import alembic.config
import pytest
from homeport_control.domain.errors import NotReady
from homeport_control.store import before_migration, connect
from homeport_control.store.before_migration import prepare, revisions

HEAD = revisions()[-1]
BEFORE = revisions()[-2]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database one schema behind, with a row in its log only."""
    made = tmp_path / "homeport.db"
    at(made, BEFORE)
    return made


def at(file: Path, revision: str) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(connect.__file__).parent / "migrations"))
    config.attributes["file"], config.attributes["busy_timeout_s"] = file, 5.0
    alembic.command.upgrade(config, revision)


def schema(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def newer(file: Path, version: str = "") -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        if version:
            connection.execute("INSERT INTO meta VALUES ('version', ?)", (version,))


def test_what_a_migration_changes_is_kept_as_it_was(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:  # open, so that its row is in the log still
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("INSERT INTO meta VALUES ('a', 'b')")
        copied = prepare(file, "0.1.0")
    assert copied is not None
    connect.migrate(file)
    assert (schema(file), schema(copied.copy), copied.copy.name) == (HEAD, BEFORE, f"homeport.db.before-{HEAD}")
    with closing(sqlite3.connect(copied.copy)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'a'").fetchone() == ("b",)
    assert stat.S_IMODE(copied.copy.stat().st_mode) == 0o600
    said = f"the database was brought from schema {BEFORE} to {HEAD}; as it was before it is kept in {copied.copy}"
    assert str(copied) == said


def test_nothing_is_copied_without_need(tmp_path: Path) -> None:
    file = tmp_path / "homeport.db"
    assert prepare(file, "0.1.0") is None
    assert not file.exists()
    connect.migrate(file)
    assert prepare(file, "0.1.0") is None
    assert before_migration.copies(file) == []


def test_the_newest_two_copies_are_kept(file: Path) -> None:
    for number, name in enumerate(("0003", "0004", "0005"), 1):
        older = file.with_name(f"homeport.db.before-{name}")
        older.write_bytes(b"")
        os.utime(older, (number, number))
    prepare(file, "0.1.0")
    assert {it.name for it in before_migration.copies(file)} == {
        "homeport.db.before-0005",
        f"homeport.db.before-{HEAD}",
    }


def test_a_file_of_a_newer_version_is_refused_with_both_versions_and_the_copy(file: Path) -> None:
    copied = prepare(file, "0.1.0")
    assert copied is not None
    newer(file, "0.9.0")
    with pytest.raises(NotReady) as caught:
        prepare(file, "0.1.0")
    assert str(caught.value) == (
        "homeport.db has schema 9999, written by Homeport 0.9.0, and this is Homeport 0.1.0, which knows schemas up to "
        f"{HEAD}; nothing was changed. Start the newer version again, or put back the copy from before, "
        f"homeport.db.before-{HEAD} (docs/operations.md says how): what changed since is lost"
    )


def test_without_a_copy_it_says_that_there_is_none(file: Path) -> None:
    newer(file)
    newer_copy = file.with_name("homeport.db.before-9999")
    newer_copy.write_bytes(file.read_bytes())  # of no use to this version either
    with pytest.raises(
        NotReady, match=r"written by a newer Homeport, and this is .* no copy that this version can use"
    ):
        prepare(file, "0.1.0")


def test_a_disk_without_room_for_a_copy_stops_the_migration(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before_migration.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
    with pytest.raises(
        NotReady, match=r"copied before, which takes \d+ MiB, and .* has 0 MiB free; nothing was changed"
    ):
        prepare(file, "0.1.0")
    assert before_migration.copies(file) == []


def test_a_copy_that_fails_leaves_nothing_and_stops_the_migration(file: Path) -> None:
    file.with_name(f"homeport.db.before-{HEAD}").mkdir()
    with pytest.raises(NotReady, match="could not be copied before its migration"):
        prepare(file, "0.1.0")
    assert not list(file.parent.glob("*.new"))
    assert schema(file) == BEFORE


def test_a_migration_that_ends_half_way_has_changed_nothing(tmp_path: Path) -> None:
    file = tmp_path / "homeport.db"
    at(file, "0009")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE runs ADD COLUMN scaled_to INTEGER")  # 0012 cannot add it
        before = connection.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(NotReady):
        connect.migrate(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == before
    assert schema(file) == "0009"


def test_a_locked_file_is_not_migrated_without_a_copy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before_migration, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotReady, match="cannot be read: database is locked"):
            prepare(file, "0.1.0")


def test_what_is_no_database_is_left_to_the_migration(tmp_path: Path) -> None:
    file = tmp_path / "homeport.db"
    file.write_bytes(b"something else entirely " * 100)
    assert prepare(file, "0.1.0") is None
