"""A pool whose connections all have the file that lies under the database's name now, and make none where there is none.

SQLite goes on with a file that was moved or deleted, and makes an empty one where it finds none: what is written would be
lost, or read as if there were nothing. So each transaction begins with a look (one stat), and a missing file is an error.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

IS_AWAY = "the file is not there"
WHICH_FILE = "homeport_file"  # in the `info` of each connection


def keep_to(engine: AsyncEngine, file: Path) -> None:
    """From now on; before the first connection. While the file is away, connecting is an OperationalError that says IS_AWAY."""

    @sa.event.listens_for(engine.sync_engine, "do_connect")
    def must_be_there(*_: object) -> None:
        if _which(file) is None:
            raise sqlite3.OperationalError(f"{IS_AWAY}: {file}")

    @sa.event.listens_for(engine.sync_engine, "connect")
    def remember(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[WHICH_FILE] = _which(file)

    @sa.event.listens_for(engine.sync_engine, "checkout")
    def must_be_the_same(_: DBAPIConnection, entry: ConnectionPoolEntry, __: Any) -> None:
        if entry.info[WHICH_FILE] != _which(file):
            raise DisconnectionError(f"another file is at {file} now")


def _which(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
