"""Whether this host, a gateway, can dial the doors of others: a connection to each, now and then, closed at once.

What the server needs to know before it sends anybody's requests that way; later Envoy itself sees who answers.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from homeport_agent.model import Reached, ReachTarget

DIAL_S = 2.0
AGAIN_S = 5.0  # for those that did not answer
LOOK_S = 60.0  # for those that did
AT_ONCE = 32


class Reaching:
    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._targets: tuple[ReachTarget, ...] = ()
        self._results: dict[str, Reached] = {}
        self._wake = asyncio.Event()

    def apply(self, targets: tuple[ReachTarget, ...]) -> None:
        if targets != self._targets:
            self._targets = targets
            self._wake.set()

    def observed(self) -> tuple[Reached, ...]:
        return tuple(self._results[key] for key in sorted(self._results))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            targets = self._targets
            limit = asyncio.Semaphore(AT_ONCE)
            found = await asyncio.gather(*(self._dial(target, limit) for target in targets))
            results = {it.host_id: it for it in found}
            if results != self._results:
                self._results = results
                self._on_change()
            failed = any(it.error for it in found)
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if failed else LOOK_S if targets else None):
                    await self._wake.wait()

    @staticmethod
    async def _dial(target: ReachTarget, limit: asyncio.Semaphore) -> Reached:
        async with limit:
            try:
                async with asyncio.timeout(DIAL_S):
                    _, writer = await asyncio.open_connection(target.address, target.port)
                writer.transport.abort()
            except TimeoutError:
                return Reached(target.host_id, f"{target.address}:{target.port} does not answer within {DIAL_S:g} s")
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                return Reached(target.host_id, f"{target.address}:{target.port}: {why}")
        return Reached(target.host_id, "")
