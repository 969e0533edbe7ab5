"""agents/openings: many sessions that begin at once, each written as its agent said it, and generations one above another."""

from dataclasses import replace

import pytest
from fixtures.control import FACTS, State, add_host, get_host
from homeport_control.agents.openings import Generation, Opening, write_generations, write_openings
from homeport_control.domain.errors import NotFound
from homeport_control.domain.hosts import Connection
from homeport_control.store import events, sessions


def opening(name: str, boot_id: str = "b1", build: str = "1", notice: str = "") -> Opening:
    return Opening(name, f"host {name}", boot_id, replace(FACTS, hostname=name), build, notice)


async def test_each_host_is_connected_as_it_said_with_an_event_of_its_own(state: State) -> None:
    names = ["h1", "h2", "h3"]
    for name in names:
        await add_host(state, name, connected=False)
    async with state.database.write() as write:
        await write_openings(write, [opening(name) for name in [*names, "removed"]])
    for name in names:
        host = await get_host(state, name)
        assert (host.connection, host.connection_reason, host.build) == (Connection.CONNECTED, "", "1")
        assert host.facts.hostname == name
    async with state.database.read() as connection:
        told = await events.newest(connection, events.Filter(kind="host"), 3)
    assert [(it.actor, it.sentence) for it in told] == [(f"host {it}", f"host {it} is connected") for it in names]
    assert len({it.cause_id for it in told}) == 3
    async with state.database.write() as write:
        accepted = await sessions.accept_reports(write, [sessions.Sequenced("h1", "b1", 0)])
    assert accepted == {"h1"}, "its reports are read from now on"


async def test_of_two_sessions_of_one_host_the_later_one_counts_and_a_notice_is_told(state: State) -> None:
    await add_host(state, "h1", connected=False)
    async with state.database.write() as write:
        await write_openings(write, [opening("h1", "b1", "1"), opening("h1", "b2", "2", "it was seen twice")])
        assert await sessions.accept_reports(write, [sessions.Sequenced("h1", "b1", 1)]) == frozenset()
    assert (await get_host(state, "h1")).build == "2"
    async with state.database.read() as connection:
        told = await events.newest(connection, events.Filter(kind="host"), 2)
    assert [it.sentence for it in told] == ["host h1 is connected", "host h1: it was seen twice"]


async def test_generations_of_one_batch_are_each_above_the_last(state: State) -> None:
    for name in ("h1", "h2"):
        await add_host(state, name)
    asked = [Generation("h1", 0), Generation("h2", 7), Generation("h1", 0), Generation("h1", 20)]
    async with state.database.write() as write:
        await write_generations(write, asked)
    assert [it.number for it in asked] == [1, 8, 2, 21]
    with pytest.raises(NotFound, match="removed"):
        async with state.database.write() as write:
            await write_generations(write, [Generation("removed", 0)])
