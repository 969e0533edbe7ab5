"""store/doors: what is told of a door is kept, and who must hear of it hears of it."""

from dataclasses import replace

from fixtures.control import State, add_gateway, add_host, get_host
from homeport_control.domain.hosts import Door, Tunnel
from homeport_control.store import doors

FAR = Door("10.0.0.5", (40001, 40002), "", (("gate", "no route"),), ("gate",), (Tunnel("gate", (40001,), ""),), ("x",))


async def test_a_door_comes_back_as_it_was_told_and_only_of_hosts_that_have_one(state: State) -> None:
    for name in ("far", "h1"):
        await add_host(state, name)
    async with state.database.write() as write:
        await doors.put(write, {"far": FAR, "gone": FAR})
    async with state.database.read() as connection:
        assert await doors.by_host(connection) == {"far": FAR}
        assert await doors.by_host(connection, ["h1", "gone"]) == {}
    assert (await get_host(state, "far")).door == FAR
    assert (await get_host(state, "h1")).door == Door()


async def test_who_dials_it_hears_of_another_place_and_nobody_of_what_is_known(state: State) -> None:
    await add_host(state, "gate")
    await add_host(state, "far")
    await add_gateway(state, "main", host_id="gate")
    async with state.database.write() as write:
        await doors.put(write, {"far": FAR})
    with state.database.changes.subscribe("doors") as told, state.database.changes.subscribe("host:gate") as gate:
        async with state.database.write() as write:
            await doors.put(write, {"far": FAR})
        assert (await told.wait(0), await gate.wait(0)) == (False, False)
        async with state.database.write() as write:
            await doors.put(write, {"far": replace(FAR, message="it listens")})
        assert (await told.wait(0), await gate.wait(0)) == (True, False)
        async with state.database.write() as write:
            await doors.put(write, {"far": replace(FAR, address="10.0.0.6")})
        assert (await told.wait(0), await gate.wait(0)) == (True, True)
