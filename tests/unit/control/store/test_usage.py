"""store/usage: batches are added once, sums are told apart by what is asked, old rows are few."""

import pytest
from fixtures.control import State, add_token
from homeport_control.domain.usage import Usage, UsageBatch, UsageKey
from homeport_control.store import usage

DAY_S = 86400
NOW_S = 1_000_000 * 3600  # the beginning of an hour, not of a day


def key(hours_ago: int, token: str = "", service: str = "llm", model: str = "llama") -> UsageKey:
    return UsageKey(NOW_S - hours_ago * 3600, token, service, model)


async def add(state: State, after: str, place: str, *counts: tuple[UsageKey, Usage], missed: bool = False) -> bool:
    async with state.database.write() as write:
        return await usage.add(write, "h1", "local", after, UsageBatch(place, counts, missed), NOW_S)


async def totals(state: State, *by: str, since_s: float = 0.0, user: str | None = None) -> dict[UsageKey, Usage]:
    async with state.database.read() as connection:
        return dict(await usage.totals(connection, since_s, by, user))


async def test_a_batch_is_added_once_with_its_place(state: State) -> None:
    async with state.database.read() as connection:
        assert await usage.place_of(connection, "h1", "local") == ""
    one = (key(1, "t1"), Usage(2, 30, 40))
    assert await add(state, "", "a:10", one)
    assert not await add(state, "", "a:10", one), "it comes again when its acknowledgement was lost"
    assert await add(state, "a:10", "b:5", one, (key(1), Usage(1, 0, 0)))
    async with state.database.read() as connection:
        assert await usage.place_of(connection, "h1", "local") == "b:5"
        assert await usage.place_of(connection, "h2", "local") == ""
    assert await totals(state) == {UsageKey(): Usage(5, 60, 80)}


async def test_sums_are_told_apart_by_what_is_asked(state: State) -> None:
    mine = await add_token(state, "hp_mine", "user", user="ann")
    other = await add_token(state, "hp_other", "user", user="bob")
    await add(
        state,
        "",
        "a:1",
        (key(0, mine), Usage(1, 10, 1)),
        (key(30, mine, "web", ""), Usage(1, 0, 0)),
        (key(30, other), Usage(1, 5, 2)),
        (key(30), Usage(1, 7, 0)),
    )
    assert await totals(state, "token_id", "service") == {
        UsageKey(token_id=mine, service="llm"): Usage(1, 10, 1),
        UsageKey(token_id=mine, service="web"): Usage(1, 0, 0),
        UsageKey(token_id=other, service="llm"): Usage(1, 5, 2),
        UsageKey(service="llm"): Usage(1, 7, 0),
    }
    assert await totals(state, "model", since_s=NOW_S - 100) == {UsageKey(model="llama"): Usage(1, 10, 1)}
    assert await totals(state, "user", user="ann") == {UsageKey(user="ann"): Usage(2, 10, 1)}
    assert await totals(state, "hour", user="bob") == {UsageKey(from_s=NOW_S - 30 * 3600): Usage(1, 5, 2)}
    by_day = await totals(state, "day")
    assert [found.from_s % DAY_S for found in by_day] == [0, 0]
    assert await totals(state, user="nobody") == {}


async def test_each_gateway_of_each_host_has_a_place_of_its_own(state: State) -> None:
    one = (key(1), Usage(1, 0, 0))
    for host_id, gateway in (("h1", "local"), ("h1", "lab"), ("h2", "lab")):
        async with state.database.write() as write:
            assert await usage.add(write, host_id, gateway, "", UsageBatch(f"{host_id}{gateway}:1", (one,)), NOW_S)
    async with state.database.write() as write:
        await usage.add(write, "h1", "lab", "h1lab:1", UsageBatch("", ()), NOW_S)  # it went, and its log
    async with state.database.read() as connection:
        assert await usage.place_of(connection, "h1", "lab") == ""
        assert await usage.place_of(connection, "h2", "lab") == "h2lab:1"
        assert await usage.counted_on(connection, ["h1", "h2", "h3"]) == {"h1": {"local"}, "h2": {"lab"}}
    assert await totals(state) == {UsageKey(): Usage(3, 0, 0)}


async def test_that_lines_were_missed_is_remembered(state: State) -> None:
    await add(state, "", "a:1", missed=True)
    await add(state, "a:1", "a:2")
    async with state.database.read() as connection:
        assert await usage.missed_since(connection, NOW_S - 1) == NOW_S
        assert await usage.missed_since(connection, NOW_S + 1) is None


@pytest.mark.parametrize("most", [1, 3, 1000])
async def test_old_hours_become_days_and_old_days_are_forgotten(state: State, most: int) -> None:
    old_hours = [(key(24 * 40 + hour), Usage(1, 2, 3)) for hour in range(5)]
    forgotten = (key(24 * 401), Usage(9, 9, 9))
    kept = (key(24 * 10), Usage(1, 1, 1))
    await add(state, "", "a:1", *old_hours, forgotten, kept)
    before = sum((counted for _, counted in (*old_hours, kept)), Usage())
    while True:
        async with state.database.write() as write:
            done = await usage.compact(write, NOW_S, most)
        assert done <= most
        if done < most:
            break
    assert await totals(state) == {UsageKey(): before}
    async with state.database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT from_s, span_s FROM usage ORDER BY from_s")).all()
    days = {found - found % DAY_S for found in (entry.from_s for entry, _ in old_hours)}
    assert [tuple(row) for row in rows] == [*((day, DAY_S) for day in sorted(days)), (kept[0].from_s, 3600)]
