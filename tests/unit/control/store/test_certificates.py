"""store/certificates: kept by gateway and name, gone with the gateway."""

from fixtures.control import State, add_gateway, add_host
from homeport_control.domain.certificates import Kept
from homeport_control.store import certificates, gateways


async def test_one_is_kept_replaced_and_gone_with_its_gateway(state: State) -> None:
    await add_host(state, "h1")
    main = await add_gateway(state, "main")
    first = Kept("main", "a.b", "self-signed", "PEM", b"sealed", 1.0, 2.0)
    second = Kept("main", "a.b", "self-signed", "PEM2", b"sealed2", 2.0, 3.0, "why")
    other = Kept("lab", "", "self-signed", "CA")
    async with state.database.write() as write:
        for kept in (first, other, second):
            await certificates.put(write, kept)
    async with state.database.read() as connection:
        assert await certificates.list_all(connection) == (other, second)
        assert await certificates.get(connection, "main", "a.b") == second
        assert await certificates.get(connection, "main", "") is None
    with state.database.changes.subscribe("gateways") as woken:
        async with state.database.write() as write:
            await gateways.remove(write, main)
        assert await woken.wait(0)
    async with state.database.read() as connection:
        assert await certificates.list_all(connection) == (other,)


async def test_what_failed_is_not_waited_for_when_its_owner_changed_something(state: State) -> None:
    async with state.database.write() as write:
        for gateway in ("main", "lab"):
            await certificates.put(write, Kept(gateway, "a.b", "acme", problem="no", failures=3, next_try_s=9.0))
        await certificates.try_again(write, "main")
    async with state.database.read() as connection:
        assert {it.gateway: it.next_try_s for it in await certificates.list_all(connection)} == {
            "lab": 9.0,
            "main": 0.0,
        }
