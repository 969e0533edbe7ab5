"""Long work on the event loop lets others have their turn now and then: not after each piece of it, for when thousands wait for
theirs it would be done after minutes."""

import asyncio

MOST_S = 0.002  # at a stretch


class Turns:
    """Made when the work begins."""

    def __init__(self, most_s: float = MOST_S) -> None:
        self._most_s = most_s
        self._clock = asyncio.get_running_loop().time
        self._since_s = self._clock()

    async def give(self) -> None:
        """Between two pieces: others have their turn when this work has had its own."""
        if self._clock() - self._since_s >= self._most_s:
            await asyncio.sleep(0)
            self._since_s = self._clock()
