"""Connections to SQLite that only read, and do so where they are asked: a short statement takes less time than the way to the
connection's thread and back.

What turns out to be long (STEPS) is begun anew in the thread, as is what meets a lock: the event loop waits for neither. In
WAL mode nobody who writes keeps readers out, so the second is rare: another program that took the whole file for itself. What
goes on with a result that was begun is done in the thread too.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store.one_trip import OneTrip, connected
from homeport_control.store.patience import finished

STEPS = 20_000  # of SQLite's machine, some for each value: two milliseconds at the most
TURN_S = 0.0005  # who took longer lets others have their turn before he goes on

T = TypeVar("T")


async def connect(file: str, *, timeout: float, **arguments: object) -> "Reading":
    """`timeout`: how long a lock is waited for, in the thread; `arguments`: of sqlite3.connect, `check_same_thread` is off."""
    connection = await connected(Reading, file, timeout=0.0, **arguments)
    connection.begin(timeout)
    return connection


class Reading(OneTrip):
    def begin(self, busy_timeout_s: float) -> None:
        self._busy_timeout_ms = round(busy_timeout_s * 1000)
        self._conn.execute("PRAGMA query_only=ON")
        self._limit()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        began_s = time.perf_counter()
        try:
            found = work(self._conn)
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # Python's own errors have none
            if code & 0xFF not in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY):
                raise
            return await self.go_on(work)
        if time.perf_counter() - began_s > TURN_S:
            await asyncio.sleep(0)
        return found

    async def go_on(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._conn.set_progress_handler(None, 0)
        try:
            return await finished(super().go_on(lambda it: self._waited(it, work)))
        finally:
            self._limit()

    def _waited(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        """By the thread."""
        connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        try:
            return work(connection)
        finally:
            connection.execute("PRAGMA busy_timeout=0")

    def _limit(self) -> None:
        self._conn.set_progress_handler(lambda: 1, STEPS)  # true: it is interrupted


class Reader(AsyncConnection):
    """Nothing of it need be waited for to its end when who reads is cancelled: it holds no lock, and changes nothing."""

    __slots__ = ()

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close()
