"""The lease of PostgreSQL: its row, its lock, and the check that every write of a leader begins with.

Covers one look, one heartbeat, one change of leader. Decides nothing (decide/leadership.py).

The row is changed under the write lock of all writers, and a leader's write looks at it after it has taken that lock: so
what a leader writes is written in its own term, or not at all. A server that was stopped in the middle of a transaction
would hold that lock: who takes its place ends all its connections first, which rolls back what it had begun. So the lock of
the lease is free too, and nobody leads who has not got that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.errors import NotLeading, NotReady
from homeport_control.domain.leadership import NOBODY, Lease
from homeport_control.store.locks import LEAD_LOCK, WRITE_LOCK
from homeport_control.store.schema import leadership

ANSWER_S = 2.0  # a lease of seconds cannot wait longer
EVICT_TRIES, EVICT_EVERY_S = 20, 0.1  # for the lock of one whose connections were ended
# PostgreSQL notices a client that vanished without a word, and lets its lock go.
SETTINGS = {
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "3000",
    "statement_timeout": "1500",
    "lock_timeout": "1500",
}
_NOW = "extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True, slots=True)
class Look:
    lease: Lease
    has_lock: bool
    now_s: float  # by the clock of the database


class Connect(Protocol):
    def __call__(self, **settings: str) -> Awaitable[asyncpg.Connection]: ...


def application_name(server: str) -> str:
    """Of all connections of one server's process: PostgreSQL shows it, and they can be ended by it."""
    return f"homeport {server}"


class LeaseConnection:
    """One connection of its own. Every method raises NotReady when the database does not answer in time."""

    def __init__(self, connect: Connect, server: str, why_not: Callable[[BaseException], str]) -> None:
        """`server`: of this process, and of no other one ever."""
        self.server = server
        self._connect = connect
        self._why_not = why_not
        self._connection: asyncpg.Connection | None = None
        self._has_lock = False

    async def look(self) -> Look:
        """Tries for the lock too, and keeps it."""
        if not self._has_lock:
            self._has_lock = bool(await self._value("SELECT pg_try_advisory_lock($1)", LEAD_LOCK))
        row = await self._row(
            f"SELECT {_NOW} AS now_s, leadership.* FROM (SELECT) AS one LEFT JOIN leadership ON true"  # noqa: S608
        )
        now_s = float(row["now_s"])
        if row["term"] is None:
            return Look(NOBODY, self._has_lock, now_s)
        lease = Lease(
            row["term"], row["server"], row["name"], row["address"], float(row["since_s"]), float(row["renewed_at_s"])
        )
        return Look(lease, self._has_lock, now_s)

    async def renew(self, term: int) -> bool:
        """The heartbeat. False: this server does not hold that term."""
        query = f"UPDATE leadership SET renewed_at_s = {_NOW} WHERE term = $1 AND server = $2 RETURNING term"  # noqa: S608
        return await self._value(query, term, self.server) is not None

    async def take(self, seen: Lease, term: int, name: str, address: str) -> bool:
        """From then on this server leads. False: another one was first, or the one before has been heard again."""
        if not self._has_lock:
            await self._evict(seen.server)
        if not self._has_lock:
            return False
        taken = await self._guarded(lambda connection: self._take(connection, seen, term, name, address))
        if not taken:
            await self._unlock()
        return bool(taken)

    async def let_go(self, term: int) -> None:
        """Nobody waits for this server to be silent. And the connection ends."""
        try:
            await self._value(
                "UPDATE leadership SET server = '' WHERE term = $1 AND server = $2 RETURNING term", term, self.server
            )
        finally:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection, self._has_lock = None, False

    async def _take(self, connection: asyncpg.Connection, seen: Lease, term: int, name: str, address: str) -> bool:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", WRITE_LOCK)
            await connection.execute(
                "INSERT INTO leadership (id, term, server, name, address, since_s, renewed_at_s) "
                "VALUES (1, 0, '', '', '', 0, 0) ON CONFLICT DO NOTHING"
            )
            found = await connection.fetchval(
                f"UPDATE leadership SET term = $1, server = $2, name = $3, address = $4, since_s = {_NOW}, "  # noqa: S608
                f"renewed_at_s = {_NOW} WHERE term = $5 AND renewed_at_s = $6 RETURNING term",
                term, self.server, name, address, seen.term, seen.renewed_at_s,
            )  # fmt: skip
        return found is not None

    async def _evict(self, server: str) -> None:
        """End the connections of a server that is silent, and take the lock that one of them held."""
        try:
            await self._value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1",
                application_name(server),
            )
        except NotReady:  # they are another user's: they end by their own deadlines
            return
        for _ in range(EVICT_TRIES):
            self._has_lock = bool(await self._value("SELECT pg_try_advisory_lock($1)", LEAD_LOCK))
            if self._has_lock:
                return
            await asyncio.sleep(EVICT_EVERY_S)

    async def _unlock(self) -> None:
        self._has_lock = False
        await self._value("SELECT pg_advisory_unlock($1)", LEAD_LOCK)

    async def _value(self, query: str, *values: Any) -> Any:
        return await self._guarded(lambda connection: connection.fetchval(query, *values))

    async def _row(self, query: str) -> Any:
        return await self._guarded(lambda connection: connection.fetchrow(query))

    async def _guarded(self, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """On the connection, which is made anew after each error: with it the lock goes."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._connection is None or self._connection.is_closed():
                    self._has_lock = False
                    self._connection = await self._connect(**SETTINGS)
                return await work(self._connection)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:  # TimeoutError is an OSError
            self.close()
            raise NotReady(self._why_not(error) or f"the lease cannot be looked at: {error}") from error
        except asyncio.CancelledError:
            self.close()  # a half-read answer is not read on
            raise


def fence(term: int, on_lost: Callable[[], None]) -> Callable[[AsyncConnection], Awaitable[None]]:
    """The check of a leader's write. Calls `on_lost` and raises NotLeading when the term is another one by now."""

    async def check(connection: AsyncConnection) -> None:
        found = cast("int | None", await connection.scalar(sa.select(leadership.c.term)))
        if found != term:
            on_lost()
            raise NotLeading(f"another server leads since term {found}, this one led in term {term}; try again")

    return check
