"""store/users: names with roles, each change with its event."""

import pytest
import sqlalchemy as sa
from fixtures.control import State
from homeport_control.store import events, users
from homeport_control.store.events import Filter


async def test_users_come_by_name_and_go(state: State) -> None:
    async with state.database.write(actor="user root") as write:
        for name in ("bob", "ann"):
            await users.insert(write, users.UserRecord(name, "user", 10.0))
        assert [user.name for user in await users.list_all(write.connection)] == ["ann", "bob"]
        await users.delete(write, "ann")
        assert await users.get(write.connection, "ann") is None
        assert await users.get(write.connection, "bob") == users.UserRecord("bob", "user", 10.0)
    async with state.database.read() as connection:
        told = await events.newest(connection, Filter(kind="user", name="ann"), 10)
    assert [event.sentence for event in told] == [
        "user root made the user ann of the role user", "user root deleted the user ann",
    ]  # fmt: skip


async def test_a_name_is_there_once_and_a_refused_one_leaves_no_event(state: State) -> None:
    async with state.database.write() as write:
        await users.insert(write, users.UserRecord("ann", "user", 10.0))
    with pytest.raises(sa.exc.IntegrityError):
        async with state.database.write() as write:
            await users.insert(write, users.UserRecord("ann", "admin", 10.0))
    async with state.database.read() as connection:
        assert len(await events.newest(connection, Filter(name="ann"), 10)) == 1
