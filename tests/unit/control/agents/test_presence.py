"""agents/presence: many sessions that begin at once, each written as its agent said it, and generations one above another."""

import time
from dataclasses import replace

import pytest
from fixtures.control import FACTS, State, add_host, get_host
from homeport_control.agents.presence import (
    Generation,
    Leaving,
    Opening,
    write_generations,
    write_leavings,
    write_openings,
)
from homeport_control.domain.errors import NotFound
from homeport_control.domain.hosts import Connection
from homeport_control.store import events, hosts, sessions


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


async def test_those_that_leave_are_away_since_they_were_heard_but_for_who_is_back_or_was_let_go(state: State) -> None:
    for name in ("h1", "h2", "back", "released"):
        await add_host(state, name)
    async with state.database.write() as write:
        await hosts.update(write, "released", {"connection": Connection.RELEASED, "connection_reason": "idle"})
    names = ["h1", "h2", "back", "released", "removed"]
    before_s = time.time()
    async with state.database.write() as write:
        gone = [Leaving(name, "silent", None if name == "h2" else 5.0) for name in names]
        await write_leavings(write, [Leaving("h1", "of before", 3.0), *gone], lambda host_id: host_id == "back")
    found = [await get_host(state, name) for name in names[:4]]
    assert [(it.connection, it.connection_reason) for it in found] == [
        (Connection.UNREACHABLE, "silent"),
        (Connection.UNREACHABLE, "silent"),
        (Connection.CONNECTED, ""),
        (Connection.RELEASED, "idle"),
    ]
    assert found[0].connection_since_s == 5.0
    assert found[1].connection_since_s >= before_s
    async with state.database.read() as connection:
        told = await events.newest(connection, events.Filter(kind="host"), 2)
    assert [(it.name, it.actor) for it in told] == [("h1", "server"), ("h2", "server")]
    assert told[0].cause_id != told[1].cause_id


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
