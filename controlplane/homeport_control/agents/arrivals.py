"""Who comes goes first: while sessions begin, those that have begun wait with what they have to say and to be told.

After a restart a thousand agents come at once, and each gives up and comes again when it is not welcomed within seconds; what
the others say meanwhile can wait. Does not cover what a beginning is (server.py).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST_WAIT_S = 5.0  # though there are always some that come


class Arrivals:
    def __init__(self, most_wait_s: float = MOST_WAIT_S) -> None:
        self._most_wait_s = most_wait_s
        self._coming = 0
        self._over = asyncio.Event()
        self._over.set()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Around the beginning of one, from when it is known who it is."""
        self._coming += 1
        self._over.clear()
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._over.set()

    async def over(self) -> None:
        """Returns when nobody is coming, and at the latest after `MOST_WAIT_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._most_wait_s):
                await self._over.wait()
