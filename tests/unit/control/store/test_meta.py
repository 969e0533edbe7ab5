"""store/meta: a fact of the installation is set once."""

from fixtures.control import State
from homeport_control.store import meta


async def test_the_first_value_stands(state: State) -> None:
    async with state.database.write() as write:
        assert await meta.put_once(write, "server_id", "first") == "first"
    async with state.database.write() as write:
        assert await meta.put_once(write, "server_id", "second") == "first"
    async with state.database.read() as connection:
        assert await meta.get(connection, "server_id") == "first"
        assert await meta.get(connection, "other") is None
