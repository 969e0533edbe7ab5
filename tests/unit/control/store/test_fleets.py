"""store/fleets: what was kept comes back, by address, and goes with its host or its fleet."""

from dataclasses import replace

from fixtures.control import State
from homeport_control.domain.fleets import Fleet, Place, Registration
from homeport_control.store import events, fleets

PLACE = Place("gpu-1.lab", 2222, "ops", "~/.ssh/k", Place("bastion", 22, "me"))
KEPT = Registration("lab", PLACE, "connecting", 7.0, "no route")


async def test_a_fleet_is_made_once_and_then_replaced(state: State) -> None:
    async with state.database.write() as write:
        await fleets.put(write, Fleet("lab", (("rack", "a"),), "cellar"))
        await fleets.put(write, Fleet("lab", (("rack", "b"),), "attic"))
    async with state.database.read() as connection:
        assert await fleets.get(connection, "lab") == Fleet("lab", (("rack", "b"),), "attic")
        assert await fleets.get(connection, "other") is None
        told = [it.sentence for it in await events.newest(connection, events.Filter(), 10)]
    assert told.count("fleet lab was made") == 1


async def test_a_machine_comes_back_as_it_was_kept_and_is_one_by_its_address(state: State) -> None:
    async with state.database.write() as write:
        await fleets.register(write, KEPT)
        await fleets.register(write, replace(KEPT, step="connected", error="", host_id="h1"))
        await fleets.register(write, replace(KEPT, fleet="other"))
    async with state.database.read() as connection:
        assert await fleets.registered(connection, "lab") == (replace(KEPT, step="connected", error="", host_id="h1"),)
        assert len(await fleets.registered(connection)) == 2


async def test_it_goes_with_its_address_with_its_host_and_with_its_fleet(state: State) -> None:
    other = replace(KEPT, place=replace(PLACE, port=22), host_id="h2")
    async with state.database.write() as write:
        await fleets.put(write, Fleet("lab"))
        await fleets.register(write, KEPT)
        await fleets.register(write, other)
        await fleets.unregister(write, "lab", [PLACE.address])
        assert await fleets.registered(write.connection) == (other,)
        await fleets.forget_host(write, "h2")
        assert await fleets.registered(write.connection) == ()
        await fleets.register(write, KEPT)
        assert await fleets.remove(write, "lab")
        assert await fleets.registered(write.connection) == ()
        assert not await fleets.remove(write, "lab")
