"""The database's file is locked by another process, moved away, damaged: services answer all the while."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from faults.cells_database import REFUSED, TAKEN
from faults.doing import applied, containers, refusal
from faults.measure import measuring
from rig.nothing_lost import Stage

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def file_of(stage: Stage) -> Path:
    return stage.stack.folder / "server" / "homeport.db"


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    """As a tool that writes to it would."""
    with closing(sqlite3.connect(file_of(stage), isolation_level=None, timeout=30)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def test_it_is_locked_for_a_moment(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "database-locked-2s") as it:
        it.struck()
        with locked(stage):
            it.lasts(2)
        assert applied(stage)
        it.until(TAKEN, lambda: True)
    assert containers(stage) == before


@pytest.mark.nightly
def test_it_is_locked_for_long(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "database-locked-20s") as it:
        it.struck()
        with locked(stage):
            it.until(REFUSED, lambda: refusal(stage, "database is locked"))
            it.lasts(20)
        it.until(TAKEN, lambda: applied(stage))
    assert containers(stage) == before


def test_its_file_is_moved_away_and_back(stage: Stage) -> None:
    before, file = containers(stage), file_of(stage)
    with measuring(stage, "database-away") as it:
        it.struck()
        for end in ("", "-wal", "-shm"):
            file.with_name(f"homeport.db{end}").rename(file.with_name(f"moved.db{end}"))
        it.until(REFUSED, lambda: refusal(stage, "the file is not there"))
        it.client.more(200)
        assert not file.exists()
        for end in ("", "-wal", "-shm"):
            file.with_name(f"moved.db{end}").rename(file.with_name(f"homeport.db{end}"))
        it.until(TAKEN, lambda: applied(stage))
    assert containers(stage) == before


@pytest.mark.nightly
def test_its_file_is_damaged_and_a_copy_put_back(stage: Stage) -> None:
    before, file = containers(stage), file_of(stage)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(file.with_name("copy.db"))) as copy:
        source.backup(copy)
    with measuring(stage, "database-damaged") as it:
        it.struck()
        with file.open("r+b") as opened:
            opened.write(b"garbage " * (file.stat().st_size // 8))
        it.until(REFUSED, lambda: refusal(stage, "database is damaged"))
        stage.stack.server.kill()
        stage.stack.server.start()
        assert stage.stack.server.wait() != 0
        assert "the database is damaged" in stage.stack.server.output
        for end in ("-wal", "-shm"):
            file.with_name(f"homeport.db{end}").unlink(missing_ok=True)
        shutil.move(file.with_name("copy.db"), file)
        stage.stack.server.start()
        it.until(TAKEN, lambda: applied(stage))
    assert containers(stage) == before
