"""How late the event loop is: everybody waits for a turn, a decision or a query that holds it for long.

Measured ten times a second; of the last minute the worst and the 99th percentile are known, and said in the log when they are
too much. Does not cover how it is measured (homeport_protos.lag), nor who held it.
"""

import time
from collections import deque
from collections.abc import Callable

import structlog
from homeport_protos import lag

KEPT = 600  # a minute
SAID_EVERY_S = 60.0
TOO_LATE_S = 0.05  # at the 99th percentile

log = structlog.get_logger()


class Lag:
    """`await run()` in the process's TaskGroup."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late_s: deque[float] = deque(maxlen=KEPT)
        self._said_s = clock()

    def took(self, late_s: float) -> None:
        """The loop came so much later than it was asked to."""
        self._late_s.append(max(0.0, late_s))

    def at_most_s(self, share: float) -> float:
        """Of the last minute: so much or less was this share (0 to 1) of the times; 0 before the first."""
        known = sorted(self._late_s)
        return known[min(len(known) - 1, int(len(known) * share))] if known else 0.0

    @property
    def sentence(self) -> str:
        """Empty: nothing to tell."""
        late_s = self.at_most_s(0.99)
        if late_s < TOO_LATE_S:
            return ""
        return (
            f"the event loop was late by {late_s * 1000:.0f} ms at the 99th percentile of the last minute, "
            f"{self.at_most_s(1.0) * 1000:.0f} ms at worst: the server has more to do than it can, or too little processor"
        )

    async def run(self) -> None:
        """Until cancelled."""
        await lag.run(heard=self._heard)

    def _heard(self, late_s: float) -> None:
        self.took(late_s)
        if self._clock() - self._said_s >= SAID_EVERY_S:
            self._said_s = self._clock()
            if sentence := self.sentence:
                log.warning(sentence)
