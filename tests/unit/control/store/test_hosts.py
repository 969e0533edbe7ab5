"""store/hosts: reports in order, generations that only grow, names that are unique."""

from dataclasses import replace

import pytest
from fixtures.control import FACTS, GPU, State, add_host, get_host, opened
from homeport_control.domain.hosts import Connection, GpuNear, GpuProcess
from homeport_control.store import hosts
from homeport_control.store.connect import Write


async def accept(write: Write, boot_id: str, sequence: int, *, new_session: bool = False) -> bool:
    return await hosts.accept_report(write, "h1", boot_id, sequence, new_session=new_session)


async def test_reports_that_are_older_doubled_or_of_another_boot_change_nothing(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        assert await accept(write, "boot1", 0, new_session=True)
        assert await accept(write, "boot1", 5)
        assert not await accept(write, "boot1", 5), "doubled"
        assert not await accept(write, "boot1", 4), "older"
        assert not await accept(write, "boot2", 9), "another boot that did not open the session"
        assert await accept(write, "boot1", 6)


async def test_a_new_boot_begins_its_count_anew(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        assert await accept(write, "boot1", 100, new_session=True)
        assert await accept(write, "boot2", -1, new_session=True)
        assert await accept(write, "boot2", 0)
        assert not await accept(write, "boot1", 101), "the boot before is over"


async def test_a_reconnection_of_the_same_boot_does_not_open_the_door_for_old_reports(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        assert await accept(write, "boot1", 7, new_session=True)
        assert not await accept(write, "boot1", -1, new_session=True)
        assert not await accept(write, "boot1", 7)
        assert await accept(write, "boot1", 8)


async def test_a_report_of_an_unknown_host_is_accepted_by_nobody(state: State) -> None:
    async with state.database.write() as write:
        assert not await hosts.accept_report(write, "nobody", "b", 1, new_session=True)


async def test_generations_grow_also_over_a_restart_of_the_server(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        assert [await hosts.next_generation(write, "h1") for _ in range(2)] == [1, 2]
    async with opened(state.directory) as again, again.database.write() as write:
        assert await hosts.next_generation(write, "h1") == 3


async def test_facts_come_back_as_they_went_in(state: State) -> None:
    await add_host(state)
    facts = replace(FACTS, gpus=(GPU,), driver_version="580.1")
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": facts})
    assert (await get_host(state, "h1")).facts == facts


@pytest.mark.parametrize(("taken", "expected"), [((), "box"), (("box",), "box-2"), (("box", "box-2"), "box-3")])
async def test_a_taken_name_gets_a_number(state: State, taken: tuple[str, ...], expected: str) -> None:
    for name in taken:
        await add_host(state, name)
    async with state.database.read() as connection:
        assert await hosts.unused_name(connection, "box") == expected
        assert [host.name for host in await hosts.list_all(connection)] == list(taken)


async def test_facts_come_back_as_they_were_said(state: State) -> None:
    near, process = (GpuNear("GPU-2", "NV4"),), (GpuProcess(7, "python3", 100, "r1"),)
    facts = replace(FACTS, gpus=(replace(GPU, near=near, processes=process),), images=("a:1", "b:2"))
    host = await add_host(state)
    async with state.database.write() as write:
        await hosts.put_facts(write, {host.id: ("host h1", facts)})
    assert (await get_host(state, host.id)).facts == facts


async def test_reports_of_many_are_each_held_to_the_last_one_of_its_host(state: State) -> None:
    for name in ("h1", "h2", "h3"):
        await add_host(state, name)
        async with state.database.write() as write:
            await hosts.accept_report(write, name, "boot1", 5, new_session=True)
    said = [hosts.Sequenced("h1", "boot1", 6), hosts.Sequenced("h2", "boot1", 5), hosts.Sequenced("h3", "boot2", 9)]
    async with state.database.write() as write:
        assert await hosts.accept_reports(write, said) == {"h1"}
    async with state.database.write() as write:
        assert await hosts.accept_reports(write, said) == frozenset()


async def test_all_are_read_however_many_pieces_that_takes(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "PIECE", 2)
    names = ["h1", "h2", "h3", "h4", "h5"]
    for count, name in enumerate(names, 1):
        await add_host(state, name)
        async with state.database.read() as connection:
            assert [host.name for host in await hosts.list_all(connection)] == names[:count]
            assert [host.name for host in await hosts.list_without_facts(connection)] == names[:count]
    async with state.database.read() as connection:
        assert sorted(await hosts.by_id(connection, [*names, "h9"])) == names
        assert [host.id for host in await hosts.named(connection, ["h4", "h2", "h9"])] == ["h2", "h4"]


async def test_what_a_host_says_of_itself_is_no_news_of_who_is_there(state: State) -> None:
    await add_host(state)
    with state.database.changes.subscribe("presence") as there, state.database.changes.subscribe("hosts") as all_of_it:
        async with state.database.write() as write:
            await hosts.put_facts(write, {"h1": ("host h1", replace(FACTS, memory_available_mib=1))})
        assert (await there.wait(0), await all_of_it.wait(0)) == (False, True)
        for changed in ({"connection": Connection.UNREACHABLE}, {"build": "2"}, {"upgrade_error": "it failed"}):
            async with state.database.write() as write:
                await hosts.update(write, "h1", changed)
            assert (await there.wait(0), await all_of_it.wait(0)) == (True, True), changed
        await add_host(state, "h2")
        assert await there.wait(0)
