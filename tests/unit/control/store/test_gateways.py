"""store/gateways: kept and found again, one default, hosts that come and go, and the gateway that a fresh server has."""

from dataclasses import replace

import pytest
from fixtures.control import State, a_host, add_gateway, add_host, get_gateway
from homeport_control.domain.errors import NotFound
from homeport_control.domain.gateway import Certificate, Gateway
from homeport_control.store import events, gateways

OWN = Gateway("local", "", "127.0.0.1", 7480, "localhost")


async def told(state: State) -> list[str]:
    async with state.database.read() as connection:
        return [it.sentence for it in await events.newest(connection, events.Filter(kind="gateway"), 20)]


async def defaults(state: State) -> list[str]:
    async with state.database.read() as connection:
        return [gateway.name for gateway in await gateways.list_all(connection) if gateway.default]


async def test_what_is_put_is_found_again_and_there_is_one_default(state: State) -> None:
    await add_host(state, "h1")
    local = await add_gateway(state, "local", default=True)
    certificate = Certificate("acme", "a@b.c", "https://ca/dir")
    main = await add_gateway(state, "main", domain="b.c", default=True, certificate=certificate, https_port=443)
    async with state.database.read() as connection:
        assert await gateways.list_all(connection) == (replace(local, default=False), main)
        assert await gateways.of_host(connection, "h1") == (replace(local, default=False), main)
        assert await gateways.of_host(connection, "h2") == ()
    assert await defaults(state) == ["main"]
    async with state.database.write() as write:
        await gateways.put(write, replace(local, default=True), "local is the default again")
    assert await defaults(state) == ["local"]


async def test_its_host_is_woken_by_each_change_and_the_one_that_loses_it_too(state: State) -> None:
    await add_host(state, "h1")
    await add_host(state, "h2")
    main = await add_gateway(state, "main", "h1")
    with state.database.changes.subscribe("host:h1") as old, state.database.changes.subscribe("host:h2") as new:
        async with state.database.write() as write:
            await gateways.put(write, replace(main, host_id="h2"), "moved")
        assert await old.wait(0)
        assert await new.wait(0)
        async with state.database.write() as write:
            await gateways.remove(write, replace(main, host_id="h2"))
        assert await old.wait(0), "its door closes to the gateway's host"
        assert await new.wait(0)


async def test_an_agent_speaks_for_its_own_gateways_only(state: State) -> None:
    await add_host(state, "h1")
    await add_host(state, "h2")
    await add_gateway(state, "main", "h1")
    await add_gateway(state, "lab", "h2", domain="b.c")
    async with state.database.write() as write:
        await gateways.observed(write, "h1", [("main", True, ""), ("lab", True, ""), ("gone", True, "")])
    assert (await get_gateway(state, "main")).ready
    assert not (await get_gateway(state, "lab")).ready
    assert (await told(state))[-1] == "gateway main on h1 is ready"


async def test_what_says_nothing_new_is_no_change(state: State) -> None:
    await add_host(state, "h1")
    await add_gateway(state, "main")
    with state.database.changes.subscribe("gateways", "host:h1") as woken:
        async with state.database.write() as write:
            await gateways.observed(write, "h1", [("main", False, "")])
        assert not await woken.wait(0)


async def test_a_gateway_that_waits_for_a_host_gets_it_and_loses_it_with_the_host(state: State) -> None:
    host = await add_host(state, "h1")
    await add_gateway(state, "local", "", domain="a.b")
    await add_gateway(state, "far", "", wanted_host="h1", domain="b.c")
    await add_gateway(state, "other", "", wanted_host="h9", domain="c.d")
    async with state.database.write() as write:
        await gateways.host_came(write, host, is_local=False)
    assert [(await get_gateway(state, name)).host_id for name in ("local", "far", "other")] == ["", "h1", ""]
    async with state.database.write() as write:
        await gateways.host_came(write, a_host("h2"), is_local=True)
        await gateways.host_gone(write, host)
    assert [(await get_gateway(state, name)).host_id for name in ("local", "far", "other")] == ["h2", "", ""]
    assert (await get_gateway(state, "far")).message == "its host h1 was removed: apply it with another"


async def test_a_fresh_server_has_one_that_follows_its_settings_until_a_file_says_more(state: State) -> None:
    async with state.database.write() as write:
        await gateways.put_own(write, OWN)
        await gateways.put_own(write, replace(OWN, domain="lan", http_port=8000))
    own = await get_gateway(state)
    assert (own.domain, own.old_domain, own.http_port, own.default) == ("lan", "localhost", 8000, True)
    async with state.database.write() as write:
        await gateways.put(write, replace(own, applied=True, http_port=80), "applied")
        await gateways.put_own(write, replace(OWN, http_port=9000))
    assert (await get_gateway(state)).http_port == 80


async def test_one_that_was_deleted_does_not_come_back(state: State) -> None:
    async with state.database.write() as write:
        await gateways.put_own(write, OWN)
        await gateways.remove(write, OWN)
        await gateways.put_own(write, OWN)
    async with state.database.read() as connection:
        assert await gateways.list_all(connection) == ()


async def test_one_that_is_not_there_cannot_change(state: State) -> None:
    with pytest.raises(NotFound, match="no gateway other"):
        async with state.database.write() as write:
            await gateways.update(write, "other", ready=True)
