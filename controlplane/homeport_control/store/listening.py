"""Changes of other servers: topics that travel with a commit as PostgreSQL's NOTIFY, and the one connection that hears them.

A message is `ORIGIN TOPIC TOPIC …`; a server ignores its own, it has published them itself already. While nobody listens,
messages are lost: so each time that the connection is back, all topics are published once. Between, the loops' own slow
resync is the net.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable

import asyncpg
import structlog

from homeport_control.store.changes import Changes

CHANNEL = "homeport"
MAX_PAYLOAD_BYTES = 7000  # PostgreSQL takes less than 8000
CHECK_S = 10.0  # a connection that died without a word is found out by a question
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 3.0

log = structlog.get_logger()
Connect = Callable[[], Awaitable[asyncpg.Connection]]


def payloads(origin: str, topics: Iterable[str]) -> list[str]:
    """As few messages as take all topics; none for none."""
    found: list[str] = []
    for topic in sorted(topics):
        if found and len(found[-1].encode()) + 1 + len(topic.encode()) <= MAX_PAYLOAD_BYTES:
            found[-1] += f" {topic}"
        else:
            found.append(f"{origin} {topic}")
    return found


class Listening:
    """`await run(changes)` in the process's TaskGroup."""

    def __init__(self, connect: Connect) -> None:
        self.origin = uuid.uuid4().hex[:8]  # of this server's messages
        self._connect = connect

    async def run(self, changes: Changes) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                connection = await self._connect()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("changes of other servers are not heard", because=str(error), retry_in_s=backoff_s)
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))  # noqa: S311
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
                continue
            backoff_s = FIRST_BACKOFF_S
            try:
                await self._hear(connection, changes)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("the connection that hears other servers broke", because=str(error))
                await asyncio.sleep(FIRST_BACKOFF_S)
            finally:
                connection.terminate()

    async def _hear(self, connection: asyncpg.Connection, changes: Changes) -> None:
        """Until the connection breaks, which raises."""
        closed = asyncio.Event()

        def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            origin, *topics = str(payload).split(" ")
            if origin != self.origin:
                changes.publish(topics)

        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(CHANNEL, heard)
        changes.publish_all()
        while not closed.is_set():
            try:
                async with asyncio.timeout(CHECK_S):
                    await closed.wait()
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=CHECK_S)
        raise ConnectionError("PostgreSQL has closed it")
