"""store/set_each: each row gets what is set of it and keeps the rest, where the conditions hold."""

from fixtures.control import State, add_host, get_host
from homeport_control.store.schema import hosts
from homeport_control.store.set_each import WHICH, set_each


async def test_each_row_gets_its_own_values_and_keeps_the_rest(state: State) -> None:
    for name in ("h1", "h2", "h3", "h4"):
        await add_host(state, name)
    rows = [
        {WHICH: "h1", "build": "1", "findings": [{"code": "x"}]},
        {WHICH: "h2", "region": "north"},
        {WHICH: "h3", "build": "3", "findings": []},
        {WHICH: "h4", "region": "south"},
        {WHICH: "gone", "build": "9", "findings": []},
    ]
    async with state.database.write() as write:
        await set_each(write, hosts, [{**it, "findings": []} if "findings" in it else it for it in rows])
        await set_each(write, hosts, [{WHICH: it, "cordoned": True} for it in ("h1", "h2")], hosts.c.build != "")
        await set_each(write, hosts, [])
    found = [await get_host(state, name) for name in ("h1", "h2", "h3", "h4")]
    assert [(it.build, it.region, it.cordoned) for it in found] == [
        ("1", found[2].region, True), ("", "north", False), ("3", found[0].region, False), ("", "south", False),
    ]  # fmt: skip
