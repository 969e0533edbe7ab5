"""When a stream that ended is opened anew, and when it is given up.

A server that goes away is waited for: what runs goes on without it, so a watcher may too. One that never answered is not.
Pure but for the clock. What it does not cover: opening, and waiting (`client`, `aio`).
"""

import time
from collections.abc import Callable
from typing import Any

from homeport.errors import Error, TooSlow, Unreachable
from homeport.steps import End, Stream

RECONNECT_FOR_S = 60.0  # after it was last heard
RECONNECT_EVERY_S = 1.0


class Patience:
    """Of one stream: `opening_s()` before each opening, `heard()` with each answer, `ended()` after each end."""

    def __init__(self, stream: Stream[Any], server: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._server = server
        self._clock = clock
        self._over_at_s = None if stream.within_s is None else clock() + stream.within_s
        self._lost_at_s: float | None = None
        self._was_answered = False

    def opening_s(self) -> float:
        """The deadline of the next opening. Raises TooSlow: there is no time left."""
        if self._over_at_s is None:
            return self._stream.deadline_s
        left_s = self._over_at_s - self._clock()
        if left_s <= 0:
            raise TooSlow(
                f"what was waited for did not come within {self._stream.within_s:g} s; it goes on without you"
            )
        return min(left_s, self._stream.deadline_s)

    def heard(self) -> None:
        self._was_answered, self._lost_at_s = True, None

    def ended(self, error: Error | None) -> float | None:
        """Seconds until it is opened anew; None: it is over. `error`: how it broke. Raises it when it is given up."""
        if self._stream.end is End.ONCE or (error is None and self._stream.end is End.OVER):
            if error is not None:
                raise error
            return None
        if isinstance(error, TooSlow) and (self._was_answered or self._is_over()):
            return 0.0  # nothing but the deadline of the opening
        if error is not None and not (isinstance(error, Unreachable) and self._was_answered):
            raise error
        trouble = error or Unreachable(f"the server at {self._server} ended the watch")
        if self._lost_at_s is None:
            self._lost_at_s = self._clock()
            self._stream.on_notice(f"{trouble}; trying again for {RECONNECT_FOR_S:g} s")
        elif self._clock() - self._lost_at_s > RECONNECT_FOR_S:
            raise trouble
        return RECONNECT_EVERY_S

    def _is_over(self) -> bool:
        return self._over_at_s is not None and self._clock() >= self._over_at_s
