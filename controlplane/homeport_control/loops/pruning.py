"""Pruning, once an hour, a bounded number of rows in each transaction: events older than 30 days are deleted, and old usage is
kept by the day (store/usage)."""

import time
from collections.abc import Callable

from homeport_control.loops.loop import Turn
from homeport_control.store import events, usage
from homeport_control.store.connect import Database

KEEP_S = 30 * 86400.0
EVERY_S = 3600.0
BATCH = 1000  # in one transaction: others write in between


class PruningLoop:
    topics: tuple[str, ...] = ()

    def __init__(self, database: Database, *, batch: int = BATCH, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._batch = batch
        self._clock = clock
        self._last: tuple[float, str] | None = None

    async def turn(self, now_s: float) -> Turn:
        if self._last is not None and self._clock() < self._last[0] + EVERY_S:
            return Turn(self._last[1])
        pruned = 0
        while True:
            async with self._database.write() as write:
                found = await events.prune(write, now_s - KEEP_S, self._batch)
            pruned += found
            if found < self._batch:
                break
        while True:
            async with self._database.write() as write:
                if await usage.compact(write, now_s, self._batch) < self._batch:
                    break
        self._last = (self._clock(), f"deleted {pruned} events that were older than {KEEP_S / 86400:g} days")
        return Turn(self._last[1])
