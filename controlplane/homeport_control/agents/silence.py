"""Who says nothing for too long while it is waited for: one timer for a session, where one for each message of a thousand
agents cost a tenth of what reading them does.

Covers the counting, and how often somebody says something at least. What a silent host means is server's and loops/liveness's.
"""

import asyncio

REPORTS_PER_S = 1000.0  # of all hosts together, when nothing changes
MOST_BEAT_S = 5.0  # three of them are still less than a lost host may take


def beat_s(usual_s: float, hosts: int) -> float:
    """How often each of so many hosts reports at least, in seconds: as usual up to two thousand of them."""
    return max(usual_s, min(hosts / REPORTS_PER_S, MOST_BEAT_S))


class Silent(Exception):
    """A peer has not been heard for the allowed time."""


class Silence:
    """The reader calls `waiting` before it waits for a message, and `heard` when it has one: how long it takes over that does
    not count. Make it in the event loop that it is used in."""

    def __init__(self, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._clock = asyncio.get_running_loop().time
        self._since_s: float | None = None

    def waiting(self) -> None:
        self._since_s = self._clock()

    def heard(self) -> None:
        self._since_s = None

    async def run(self) -> None:
        """Until cancelled. Raises Silent as soon as a message was waited for as long as is allowed."""
        while (left_s := self._left_s()) > 0:  # noqa: ASYNC110 - an event would be set for each message
            await asyncio.sleep(left_s)
        raise Silent

    def _left_s(self) -> float:
        """How long nothing can be said at least: nobody is silent before."""
        return self._allowed_s if self._since_s is None else self._since_s + self._allowed_s - self._clock()
