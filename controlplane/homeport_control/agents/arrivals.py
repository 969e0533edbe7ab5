"""Who comes goes first: while sessions begin, those that have begun wait with what they have to say and to be told.

After a restart a thousand agents come at once, and each gives up and comes again when it is not welcomed within seconds; what
the others say meanwhile can wait. Of those that come some are begun, in the order in which they came, and nothing is done for
the others yet: were all of a very large fleet begun together, none would be done in time. Does not cover what a beginning is
(server.py).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from homeport_control.domain.errors import NotReady

MOST_WAIT_S = 5.0  # though there are always some that come
LIMIT_S = 15.0  # for the wait and the beginning: an agent has given up before
AT_ONCE = 100  # as many as are written together, and those that come next


class Arrivals:
    def __init__(self, most_wait_s: float = MOST_WAIT_S, at_once: int = AT_ONCE, limit_s: float = LIMIT_S) -> None:
        self._most_wait_s = most_wait_s
        self._limit_s = limit_s
        self._coming = 0
        self._room = asyncio.Semaphore(at_once)
        self._over = asyncio.Event()
        self._over.set()

    @asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        """Around the beginning of one, from its hello on; waits for its turn. Raises NotReady when both take too long: who
        does not take his welcome would hold up all others."""
        self._coming += 1
        self._over.clear()
        try:
            async with asyncio.timeout(self._limit_s), self._room:
                yield
        except TimeoutError:
            raise NotReady("it took too long until the session began; come again") from None
        finally:
            self._coming -= 1
            if not self._coming:
                self._over.set()

    async def over(self) -> None:
        """Returns when nobody is coming, and at the latest after `MOST_WAIT_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._most_wait_s):
                await self._over.wait()
