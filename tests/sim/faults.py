"""The faults of a simulated world, by name: each strikes once, at something drawn, and most of them end by themselves.

`calm` ends whatever still lasts. To add one: a coroutine that takes the world, and its line in FAULTS.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sim.world import World

Fault = Callable[[World], Awaitable[None]]


async def kill_server(world: World) -> None:
    """kill -9 before or after one of its next statements: between any two writes, and inside of any transaction."""
    world.kill_in = world.rng.randint(1, world.rng.choice((8, 60, 300)))


FAULTS: dict[str, Fault] = {"KillServer": kill_server}


async def strike(world: World, name: str) -> None:
    world.tell("fault", name)
    await FAULTS[name](world)


async def calm(world: World) -> None:
    """Everything that was broken is whole again."""
    world.kill_in = None
    while world.server is None:
        await asyncio.sleep(0.2)
