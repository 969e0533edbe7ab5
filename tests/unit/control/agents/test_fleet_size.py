"""agents/fleet_size: counted once in a while, however often it is asked for."""

from fixtures.control import State, add_host
from homeport_control.agents.fleet_size import COUNTED_EVERY_S, FleetSize


async def test_it_is_counted_once_in_a_while(state: State) -> None:
    now_s = [0.0]
    size = FleetSize(state.database, lambda: now_s[0])
    await add_host(state, "h1")
    assert await size.now() == 1
    await add_host(state, "h2")
    now_s[0] = COUNTED_EVERY_S / 2
    assert await size.now() == 1
    now_s[0] = COUNTED_EVERY_S
    assert await size.now() == 2
