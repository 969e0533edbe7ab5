"""When Python looks for garbage that refers to itself: nobody is served while it looks at everything that lives, which takes
half a second with a thousand agents, and by its own rule it does so most often while a fleet comes.

What is young is looked at as ever, and most garbage dies there. (With a higher threshold such a look takes 75 ms.) All of it
is looked at by this module alone, the rarer the longer it takes, so that it costs a thousandth of the time. What was there
when the server began to serve (its code) is never looked at again. Does not cover what is freed at once because nobody
refers to it, which is nearly all.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

NEVER = 1 << 30  # looks at the young, until one at everything
REST_PER_LOOK = 1_000.0  # as many times as it took
LEAST_REST_S = 10.0
MOST_REST_S = 600.0  # garbage must not fill the memory either


def rest_s(took_s: float) -> float:
    """How long nothing is looked for after a look at everything."""
    return min(max(took_s * REST_PER_LOOK, LEAST_REST_S), MOST_REST_S)


async def run(
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, clock: Callable[[], float] = time.monotonic
) -> None:
    """Until cancelled; then Python's own rule holds again. Start it when everything is loaded that will be needed."""
    own = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*own[:2], NEVER)
    took_s = 0.0
    try:
        while True:
            await sleep(rest_s(took_s))
            began_s = clock()
            gc.collect()
            took_s = clock() - began_s
    finally:
        gc.set_threshold(*own)
        gc.unfreeze()
