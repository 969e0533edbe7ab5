"""One loop: turns that never overlap, woken by what changed, by a deadline of their own, or by a slow resync.

A turn reads, decides and writes, and returns what it did as a sentence, with the time when it must look again even if
nothing changes. A turn that raises is logged and tried again with back-off: level-triggered, it will read the state anew.

After a turn a loop rests, and what changes meanwhile is one turn (`rest_s`): in a small fleet, where a turn is short, for next
to nothing; in a large one, where a turn is long and something changes at every moment, for longer than the turn took.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from homeport_control.store.changes import Changes

RESYNC_S = 15.0  # the net under missed wake-ups; nothing on the way from apply to serving waits for it
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
EVEN_S = 0.02  # after a turn of this length a loop rests for as long; after one of twice that for four times as long
MOST_RESTS = 4.0  # as many times as the turn took
MAX_REST_S = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn did, in a sentence, and when (unix time) it must look again."""

    sentence: str
    wake_at_s: float | None = None


def rest_s(took_s: float) -> float:
    """How long a loop rests after a turn."""
    return min(took_s * min(took_s / EVEN_S, MOST_RESTS), MAX_REST_S)


class Loop:
    """`await run()` in the process's TaskGroup; `turn(now_s)` is called on start and after each change of a topic."""

    def __init__(
        self, name: str, changes: Changes, topics: tuple[str, ...], turn: Callable[[float], Awaitable[Turn]]
    ) -> None:
        self.name = name
        self.last = Turn("has not turned yet")
        self.turns = self.failures = 0
        self.busy_s = self.turned_at_s = 0.0  # in turns, all together; unix time of the last one's end
        self._changes = changes
        self._topics = topics
        self._turn = turn

    async def run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        with self._changes.subscribe(*self._topics) as subscription:
            while True:
                began_s = time.monotonic()
                try:
                    turn = await self._turn(time.time())
                except Exception:
                    self.failures += 1
                    log.exception("a turn failed; it is tried again", loop=self.name, retry_in_s=backoff_s)
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
                    continue
                backoff_s = FIRST_BACKOFF_S
                self.turns += 1
                self.busy_s += time.monotonic() - began_s
                self.turned_at_s = time.time()
                if turn.sentence != self.last.sentence:
                    log.info(turn.sentence, loop=self.name)
                self.last = turn
                await asyncio.sleep(rest_s(time.monotonic() - began_s))
                timeout_s = RESYNC_S
                if turn.wake_at_s is not None:
                    timeout_s = min(timeout_s, max(0.0, turn.wake_at_s - time.time()))
                await subscription.wait(timeout_s)
