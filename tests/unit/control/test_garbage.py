"""garbage: what refers to itself is found, everything that lives is looked at seldom, and Python's own rule comes back."""

import asyncio
import gc
import weakref
from contextlib import suppress

from homeport_control import garbage


class Round:
    """Refers to itself: only a look for garbage frees it."""

    def __init__(self) -> None:
        self.me = self


def test_the_longer_a_look_takes_the_rarer_it_is() -> None:
    assert garbage.rest_s(0.0) == 10.0
    assert garbage.rest_s(0.05) == 50.0, "a thousandth of the time"
    assert garbage.rest_s(30.0) == 600.0, "garbage must not fill the memory"


async def test_everything_is_looked_at_after_a_rest_and_not_by_pythons_rule() -> None:
    own = gc.get_threshold()
    asked, go_on = asyncio.Queue[float](), asyncio.Semaphore(0)

    async def sleep(rest_s: float) -> None:
        asked.put_nowait(rest_s)
        await go_on.acquire()

    task = asyncio.create_task(garbage.run(sleep))
    assert await asked.get() == garbage.LEAST_REST_S
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[2] == garbage.NEVER
    old = Round()
    gone = weakref.ref(old)
    gc.collect(1)  # twice: it is not young any more
    gc.collect(1)
    del old
    gc.collect(1)
    assert gone() is not None, "it would have been found among the young"
    go_on.release()
    await asked.get()
    assert gone() is None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert gc.get_threshold() == own
    assert gc.get_freeze_count() == 0
