"""store/hosts: hosts come back as they were written, many in pieces; what is told of a change, and to whom it is news."""

from dataclasses import replace

import pytest
from fixtures.control import FACTS, GPU, State, add_host, get_host
from homeport_control.domain.hosts import Connection, GpuNear, GpuProcess
from homeport_control.store import events, hosts


@pytest.mark.parametrize(
    ("taken", "expected"),
    [((), "box"), (("box",), "box-2"), (("box", "box-2"), "box-3"), (("bo", "boxes", "box-x"), "box")],
)
async def test_a_taken_name_gets_a_number(state: State, taken: tuple[str, ...], expected: str) -> None:
    for name in taken:
        await add_host(state, name)
    async with state.database.read() as connection:
        assert await hosts.unused_name(connection, "box") == expected
        assert [host.name for host in await hosts.list_all(connection)] == sorted(taken)


async def test_facts_come_back_as_they_were_said(state: State) -> None:
    near, process = (GpuNear("GPU-2", "NV4"),), (GpuProcess(7, "python3", 100, "r1"),)
    facts = replace(FACTS, gpus=(replace(GPU, near=near, processes=process),), images=("a:1", "b:2"))
    host = await add_host(state)
    async with state.database.write() as write:
        await hosts.update(write, host.id, {"facts": facts})
    assert (await get_host(state, host.id)).facts == facts


async def test_some_are_read_however_many_pieces_that_takes(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "PIECE", 2)
    names = ["h1", "h2", "h3", "h4", "h5"]
    for count, name in enumerate(names, 1):
        await add_host(state, name)
        async with state.database.read() as connection:
            assert [host.name for host in await hosts.list_all(connection)] == names[:count]
            assert list(await hosts.all_by_id(connection)) == names[:count]
    async with state.database.read() as connection:
        assert sorted(await hosts.by_id(connection, [*names, "h9"])) == names
        assert sorted(await hosts.by_id_without_facts(connection, [*names, "h9"])) == names
        assert [host.id for host in await hosts.named(connection, ["h4", "h2", "h9"])] == ["h2", "h4"]


async def test_what_a_host_says_of_itself_is_no_news_of_who_is_there(state: State) -> None:
    await add_host(state)
    with state.database.changes.subscribe("presence") as there, state.database.changes.subscribe("hosts") as all_of_it:
        async with state.database.write() as write:
            await hosts.update(write, "h1", {"facts": replace(FACTS, memory_available_mib=1)})
        assert (await there.wait(0), await all_of_it.wait(0)) == (False, True)
        for changed in ({"connection": Connection.UNREACHABLE}, {"build": "2"}, {"upgrade_error": "it failed"}):
            async with state.database.write() as write:
                await hosts.update(write, "h1", changed)
            assert (await there.wait(0), await all_of_it.wait(0)) == (True, True), changed
        await add_host(state, "h2")
        assert await there.wait(0)


async def test_of_many_that_change_each_has_its_event_by_whom_and_because_of_what_it_was(state: State) -> None:
    for name in ("h1", "h2", "h3"):
        await add_host(state, name)
    away = {"connection": Connection.UNREACHABLE, "connection_reason": "the cable", "connection_since_s": 5.0}
    async with state.database.write(actor="server", cause_id="start") as write:
        changes = [hosts.Change("h1", away, "host h1", "storm"), hosts.Change("h2", {"build": "2"})]
        await hosts.update_all(write, [*changes, hosts.Change("h3", away), hosts.Change("nobody", away)])
    found = {name: await get_host(state, name) for name in ("h1", "h2", "h3")}
    assert [host.connection_reason for host in found.values()] == ["the cable", "", "the cable"]
    assert (found["h1"].cause_id, found["h3"].cause_id, found["h2"].build) == ("storm", "start", "2")
    async with state.database.read() as connection:
        told = await events.newest(connection, events.Filter(kind="host"), 2)
    assert [(it.name, it.actor, it.cause_id, it.sentence) for it in told] == [
        ("h1", "host h1", "storm", "host h1 is unreachable: the cable"),
        ("h3", "server", "start", "host h3 is unreachable: the cable"),
    ]


async def test_what_is_so_already_is_no_news(state: State) -> None:
    """A host says all of itself at each beginning of a session."""
    host = await add_host(state)
    with state.database.changes.subscribe("hosts", "presence", "health") as anything:
        async with state.database.write() as write:
            same = {"connection": host.connection, "facts": host.facts, "findings": host.findings}
            await hosts.update_all(write, [hosts.Change("h1", same)])
        assert not await anything.wait(0)
