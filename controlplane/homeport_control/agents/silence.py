"""Who says nothing for too long while it is waited for: one timer for a session, where one for each message of a thousand
agents cost a tenth of what reading them does.

Covers the counting. What a silent host means is server's and loops/liveness's.
"""

import asyncio


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
