"""store/sessions: reports in order, and generations that only grow."""

from fixtures.control import State, add_host, opened
from homeport_control.store import sessions
from homeport_control.store.connect import Write


async def accept(write: Write, boot_id: str, sequence: int) -> bool:
    return bool(await sessions.accept_reports(write, [sessions.Sequenced("h1", boot_id, sequence)]))


async def test_reports_that_are_older_doubled_or_of_another_boot_change_nothing(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "boot1"})
        assert await accept(write, "boot1", 5)
        assert not await accept(write, "boot1", 5), "doubled"
        assert not await accept(write, "boot1", 4), "older"
        assert not await accept(write, "boot2", 9), "another boot that did not open the session"
        assert await accept(write, "boot1", 6)


async def test_a_new_boot_begins_its_count_anew(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "boot1"})
        assert await accept(write, "boot1", 100)
        await sessions.begin(write, {"h1": "boot2"})
        assert await accept(write, "boot2", 0)
        assert not await accept(write, "boot1", 101), "the boot before is over"


async def test_a_reconnection_of_the_same_boot_does_not_open_the_door_for_old_reports(state: State) -> None:
    await add_host(state)
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "boot1"})
        assert await accept(write, "boot1", 7)
        await sessions.begin(write, {"h1": "boot1"})
        assert not await accept(write, "boot1", 7)
        assert await accept(write, "boot1", 8)


async def test_a_report_of_an_unknown_host_is_accepted_by_nobody(state: State) -> None:
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "b"})
        assert not await accept(write, "b", 1)


async def test_reports_of_many_are_each_held_to_the_last_one_of_its_host(state: State) -> None:
    for name in ("h1", "h2", "h3"):
        await add_host(state, name)
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "boot1", "h2": "boot1", "h3": "boot1"})
        await sessions.accept_reports(write, [sessions.Sequenced(it, "boot1", 5) for it in ("h1", "h2", "h3")])
    said = [
        sessions.Sequenced("h1", "boot1", 6),
        sessions.Sequenced("h2", "boot1", 5),
        sessions.Sequenced("h3", "boot2", 9),
    ]
    async with state.database.write() as write:
        assert await sessions.accept_reports(write, said) == {"h1"}
    async with state.database.write() as write:
        assert await sessions.accept_reports(write, said) == frozenset()


async def test_generations_grow_also_over_a_restart_of_the_server(state: State) -> None:
    for name in ("h1", "h2"):
        await add_host(state, name)
    async with state.database.write() as write:
        assert await sessions.next_generations(write, {"h1": 0, "h2": 0}) == {"h1": 1, "h2": 1}
        assert await sessions.next_generations(write, {"h1": 0, "h2": 9, "gone": 3}) == {"h1": 2, "h2": 10}
    async with opened(state.directory) as again, again.database.write() as write:
        assert await sessions.next_generations(write, {"h1": 0, "h2": 5}) == {"h1": 3, "h2": 11}
