"""loops/pruning: what is older than 30 days goes, in batches, once an hour."""

from fixtures.control import State
from homeport_control.loops.pruning import KEEP_S, PruningLoop
from homeport_control.store import events
from homeport_control.store.events import Filter

NOW_S = 1e9


async def old_and_new(state: State, old: int) -> None:
    async with state.database.write() as write:
        for number in range(old + 1):
            events.record(write, kind="server", object_id="", name="s", sentence=str(number))
            write.events[-1]["at_s"] = NOW_S - KEEP_S + (1 if number == old else -1)


async def left(state: State) -> int:
    async with state.database.read() as connection:
        return len(await events.newest(connection, Filter(), 1000))


async def test_old_events_go_in_batches_and_new_ones_stay(state: State) -> None:
    await old_and_new(state, 7)
    loop = PruningLoop(state.database, batch=3)
    assert (await loop.turn(NOW_S)).sentence == "deleted 7 events that were older than 30 days"
    assert await left(state) == 1


async def test_it_looks_once_an_hour(state: State) -> None:
    clock_s = [0.0]
    loop = PruningLoop(state.database, clock=lambda: clock_s[0])
    await loop.turn(NOW_S)
    await old_and_new(state, 1)
    clock_s[0] = 3599.0
    await loop.turn(NOW_S)
    assert await left(state) == 2
    clock_s[0] = 3600.0
    await loop.turn(NOW_S)
    assert await left(state) == 1
