"""One seed from its beginning to its end: faults and users for a while, then calm, then all must settle, then all must go.

Returns what went wrong, and the story.
"""

import asyncio
import gc
import hashlib
import time
from dataclasses import dataclass
from typing import Any

from homeport_control.agents import server
from homeport_control.loops import loop
from homeport_control.loops.placement import PlacementLoop

from sim import clock, faults, invariants, settle
from sim.database import Folder
from sim.invariants import Reader
from sim.server import Trust
from sim.stories import NAMES, User
from sim.world import World, leaves, log

STEP_S = 0.5
SETTLE_S = 400.0
GENTLE_SHARE = 0.35
NO_NET_SHARE = 0.5
NET_S, NEVER_S = 15.0, 1e6


@dataclass(frozen=True)
class Outcome:
    seed: int
    wrong: tuple[str, ...]
    story: tuple[str, ...]
    virtual_s: float
    true_s: float
    cpu_s: float

    @property
    def trace(self) -> str:
        """Equal for equal stories."""
        return hashlib.sha256("\n".join(self.story).encode()).hexdigest()[:16]


def play(seed: int, trust: Trust, folder: Folder, *, print_story: bool = False) -> Outcome:
    began_s, began_cpu_s = clock.perf_s(), clock.cpu_s()
    gc.disable()  # when it tidies up is no part of the story, and it takes a fifth of the time
    events = clock.begin(seed)
    world = World(seed, trust, folder, print_story=print_story)
    log.world = world

    def broke(_: object, context: dict[str, object]) -> None:
        error: Any = context.get("exception")
        if not clock.process.get().is_dead:
            world.fail(f"in the event loop: {context.get('message')}: {leaves(error)}")

    events.set_exception_handler(broke)
    try:
        events.run_until_complete(_play(world))
    except clock.Stuck:
        world.fail("nothing moves any more")
    finally:
        log.world = None
        events.set_exception_handler(lambda *_: None)
        world.end()
        for _ in range(100):
            if not (left := asyncio.all_tasks(events)):
                break
            for task in left:
                task.cancel()
            events.run_until_complete(asyncio.sleep(0))
        events.close()
        gc.collect()
        world.close()
    return Outcome(
        seed,
        tuple(world.wrong),
        tuple(world.story),
        clock.current.now_s,
        clock.perf_s() - began_s,
        clock.cpu_s() - began_cpu_s,
    )


async def _play(world: World) -> None:
    rng = world.rng
    await world.prepare(rng.choice((1, 2, 3, 3, 4)))
    world.start_server()
    world.start_machines()
    reader, user = Reader(world), User(world)
    world.stopping = lambda replica_id: invariants.stopping(world, reader, replica_id)
    is_gentle = rng.random() < GENTLE_SHARE
    # Without the net: then what waits for a signal that never comes waits for ever, and is seen.
    loop.RESYNC_S = server.RESYNC_S = NEVER_S if rng.random() < NO_NET_SHARE else NET_S
    try:
        watch = asyncio.ensure_future(_watch(world, reader, is_gentle))
        await _trouble(world, user, is_gentle)
        world.tell("calm", "no more faults")
        await faults.calm(world)
        await _until(world, reader, "settled", settle.unsettled)
        await user.surely(lambda: _nothing_could_be_placed(world))
        world.tell("calm", "settled; all runs are stopped")
        for name in NAMES:
            await user.surely(lambda name=name: user.stop(name, abort=False))
        await _until(world, reader, "ended", settle.left_over)
        watch.cancel()
        invariants.check(world, reader.rows())
        for what in reader.untold():
            world.fail(f"an event is missing: {what}")
    finally:
        reader.close()


async def _nothing_could_be_placed(world: World) -> None:
    """What waits for a host waits with reason: looked at now, no host fits either."""
    turn = await world.call(lambda server: PlacementLoop(server.database).turn(time.time()))
    if "waiting replicas" in turn.sentence and not turn.sentence.startswith("placed 0 "):
        world.fail(f"placement slept while a host fitted: {turn.sentence}")


async def _trouble(world: World, user: User, is_gentle: bool) -> None:
    """Users and faults, at random times."""
    rng = world.rng
    await asyncio.sleep(rng.uniform(0.2, 2.0))
    await user.attempt(user.change())
    # A few kinds in each world: what they do to one another is seen sooner than when all come everywhere.
    kinds = rng.sample(sorted(faults.GENTLE if is_gentle else faults.FAULTS), rng.randint(1, 5))
    world.tell("world", f"{'gentle, ' if is_gentle else ''}faults of {', '.join(kinds)}")
    for _ in range(rng.randint(3, 10)):
        await asyncio.sleep(rng.choice((0.02, 0.2, 1.0, 2.0, 5.0)) * rng.uniform(0.5, 1.5))
        if rng.random() < 0.5:
            await user.act(may_remove=not is_gentle)
        else:
            await faults.strike(world, rng.choice(kinds))
        if world.wrong:
            return
    await asyncio.sleep(rng.uniform(0.0, 5.0))


async def _watch(world: World, reader: Reader, is_gentle: bool) -> None:
    floors = invariants.Floors(world)
    while not world.wrong:
        rows = reader.rows()
        invariants.check(world, rows)
        if is_gentle:
            floors.look(rows)
        await asyncio.sleep(STEP_S)


async def _until(world: World, reader: Reader, what: str, why_not: "settle.WhyNot") -> None:
    """Liveness: within a bounded time."""
    ends_s = clock.current.now_s + SETTLE_S
    while reasons := why_not(world, reader.rows()):
        if world.wrong:
            return
        if clock.current.now_s > ends_s:
            world.fail(f"not {what} within {SETTLE_S:.0f} s: {'; '.join(reasons)}")
            return
        await asyncio.sleep(1.0)


__all__ = ["Outcome", "play"]
