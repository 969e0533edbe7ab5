"""How many hosts there are, for who needs to know it roughly and often: it is counted once in a while."""

import asyncio
import time
from collections.abc import Callable

from homeport_control.store import hosts
from homeport_control.store.connect import Database

COUNTED_EVERY_S = 10.0


class FleetSize:
    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._count, self._counted_s = 0, float("-inf")
        self._counting = asyncio.Lock()  # a thousand that come at once wait for one look

    async def now(self) -> int:
        """As it was `COUNTED_EVERY_S` ago at most. Raises NotReady."""
        async with self._counting:
            if self._clock() - self._counted_s >= COUNTED_EVERY_S:
                async with self._database.read() as connection:
                    self._count = await hosts.count(connection)
                self._counted_s = self._clock()
        return self._count
