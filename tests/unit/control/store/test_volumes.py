"""store/volumes: where the data of a named volume is."""

from fixtures.control import State, add_host
from homeport_control.store import volumes


async def test_a_volume_stays_where_it_was_made_first(state: State) -> None:
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    async with state.database.write() as write:
        await volumes.settle(write, ("models",), "h1", 5.0)
    async with state.database.write() as write:
        await volumes.settle(write, ("models", "cache"), "h2", 6.0)
    async with state.database.read() as connection:
        assert await volumes.homes(connection) == {"models": "h1", "cache": "h2"}
