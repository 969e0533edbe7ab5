"""store/mirror and store/versions: what is kept in memory is what a statement of the same moment finds, and only what has
changed is read for it."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from fixtures.control import State, a_host, add_host, add_replica, add_run, claim
from homeport_control.store import hosts, replicas, reservations
from homeport_control.store.mirror import Mirror
from homeport_control.store.schema import hosts as hosts_table
from homeport_control.store.schema import metadata
from sqlalchemy.ext.asyncio import AsyncConnection

# Late messages of a session are known by these; no value has them.
WITHOUT = {
    "hosts": {"boot_id", "sequence", "generation", "version"},
    "replicas": {"version"},
    "reservations": {"version"},
}


class Names:
    """A mirror of the hosts' names that says what it made."""

    def __init__(self) -> None:
        self.made: list[str] = []
        columns = (hosts_table.c.id, hosts_table.c.name, hosts_table.c.cordoned)
        self.mirror = Mirror(hosts_table, columns, self._make, hosts_table.c.id)

    def _make(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self.made.append(row[0])
        return row[1:]

    async def read(self, connection: AsyncConnection) -> Mapping[str, tuple[Any, ...]]:
        self.made.clear()
        return (await self.mirror.read(connection)).by_id


def counted(known: Mapping[str, Any]) -> list[int]:
    return [len(known)]


async def test_what_has_changed_is_read_and_nothing_else(state: State) -> None:
    names = Names()
    for host_id in ("h1", "h2", "h3"):
        await add_host(state, host_id)
    async with state.database.read() as connection:
        assert await names.read(connection) == {"h1": ("h1", False), "h2": ("h2", False), "h3": ("h3", False)}
        assert sorted(names.made) == ["h1", "h2", "h3"]
        await names.read(connection)
        assert names.made == []
    async with state.database.write() as write:
        await hosts.update(write, "h2", {"cordoned": True})
    await add_host(state, "h4")
    async with state.database.read() as connection:
        found = await names.read(connection)
    assert (found["h2"], found["h4"], sorted(names.made)) == (("h2", True), ("h4", False), ["h2", "h4"])


async def test_what_is_made_of_all_is_made_once_until_something_changes(state: State) -> None:
    names = Names()
    await add_host(state)
    async with state.database.read() as connection:
        first = (await names.mirror.read(connection)).derived(counted)
        assert (await names.mirror.read(connection)).derived(counted) is first
    await add_host(state, "h2")
    async with state.database.read() as connection:
        assert (await names.mirror.read(connection)).derived(counted) == [2]


@pytest.mark.parametrize("comes", [False, True])
async def test_what_is_deleted_is_gone_though_as_many_come(state: State, comes: bool) -> None:
    names = Names()
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    async with state.database.read() as connection:
        await names.read(connection)
    async with state.database.write() as write:
        await hosts.remove(write, a_host("h2"), 5.0)
        if comes:
            await hosts.insert(write, a_host("h3"))
    async with state.database.read() as connection:
        assert sorted(await names.read(connection)) == (["h1", "h3"] if comes else ["h1"])


async def test_a_replica_of_which_nothing_is_left_is_gone(state: State) -> None:
    run_id = await add_run(state)
    for replica_id in ("r1", "r2"):
        await add_replica(state, run_id, replica_id)
    async with state.database.read() as connection:
        assert sorted((await replicas.active_and_count(connection))[0]) == ["r1", "r2"]
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
    async with state.database.read() as connection:
        assert sorted((await replicas.active_and_count(connection))[0]) == ["r2"]


async def test_a_write_sees_what_it_has_changed_and_nobody_else_what_is_rolled_back(state: State) -> None:
    names = Names()
    await add_host(state)
    async with state.database.read() as connection:
        await names.read(connection)

    async def changed() -> None:
        async with state.database.write() as write:
            await hosts.update(write, "h1", {"cordoned": True})
            await hosts.insert(write, a_host("h2"))
            assert await names.read(write.connection) == {"h1": ("h1", True), "h2": ("h2", False)}
            async with state.database.read() as connection:
                assert await names.read(connection) == {"h1": ("h1", False)}
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await changed()
    await add_host(state, "h3")  # of the versions that were rolled back, one is given again
    async with state.database.read() as connection:
        assert await names.read(connection) == {"h1": ("h1", False), "h3": ("h3", False)}


async def test_a_snapshot_sees_its_own_moment_whatever_others_have_read_since(state: State) -> None:
    names = Names()
    await add_host(state)
    async with state.database.read() as connection:
        await names.read(connection)
    async with state.database.snapshot() as earlier:
        await names.read(earlier)
        for host_id in ("h2", "h3"):
            async with state.database.write() as write:
                await hosts.insert(write, a_host(host_id))
                await hosts.update(write, "h1", {"cordoned": host_id == "h2"})
            async with state.database.read() as connection:
                assert host_id in await names.read(connection)
        assert await names.read(earlier) == {"h1": ("h1", False)}
        assert names.made == []
    async with state.database.read() as connection:
        assert sorted(await names.read(connection)) == ["h1", "h2", "h3"]


async def test_many_that_ask_at_once_wait_for_one_that_reads(state: State) -> None:

    names = Names()
    for number in range(5):
        await add_host(state, f"h{number}")

    async def ask() -> int:
        async with state.database.read() as connection:
            return len((await names.mirror.read(connection)).by_id)

    assert await asyncio.gather(*(ask() for _ in range(8))) == [5] * 8
    assert len(names.made) == 5


@pytest.mark.parametrize("table", sorted(WITHOUT))
async def test_each_change_of_what_a_value_is_made_of_gives_another_version(state: State, table: str) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1")
    async with state.database.write() as write:
        assert await replicas.claim(write, claim("r1", "h1"))
    of = metadata.tables[table]
    seen: set[int] = set()
    for column in of.c:
        async with state.database.write() as write:
            before = await write.connection.scalar(sa.select(of.c.version))
            await write.connection.execute(
                sa.update(of).values({column.name: sa.bindparam("same", type_=column.type)}),
                {"same": (await write.connection.execute(sa.select(column))).scalar_one()},
            )
            after = await write.connection.scalar(sa.select(of.c.version))
        assert (after > before) is (column.name not in WITHOUT[table]), column.name
        seen.add(after)
    assert min(seen) > 0, "a row has a version from its insert on"


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_it_is_what_a_statement_finds(state: State, seed: int) -> None:
    """Hosts come, change and go, some of it rolled back; readers look in between, from snapshots that began earlier too."""
    chance, names, number = random.Random(seed), Names(), 0  # noqa: S311
    query = sa.select(hosts_table.c.id, hosts_table.c.name, hosts_table.c.cordoned)

    async def agrees(connection: AsyncConnection) -> None:
        mirrored = await names.read(connection)
        assert mirrored == {row[0]: tuple(row[1:]) for row in await connection.execute(query)}

    for _ in range(25):
        async with state.database.snapshot() as earlier:
            await earlier.execute(query)  # from here on it stands still
            for _ in range(chance.randrange(3)):
                try:
                    async with state.database.write() as write:
                        there = [row[0] for row in await write.connection.execute(query)]
                        for _ in range(chance.randrange(1, 4)):
                            match chance.choice(("come", "change", "go")):
                                case "come":
                                    number += 1
                                    await hosts.insert(write, a_host(f"h{number}"))
                                case "change" if there:
                                    await hosts.update(write, chance.choice(there), {"cordoned": chance.random() < 0.5})
                                case "go" if there:
                                    gone = there.pop(chance.randrange(len(there)))
                                    await hosts.remove(write, a_host(gone), 5.0)
                            if chance.random() < 0.3:
                                await agrees(write.connection)
                        if chance.random() < 0.3:
                            raise ValueError
                except ValueError:
                    pass
                if chance.random() < 0.5:
                    async with state.database.read() as connection:
                        await agrees(connection)
            await agrees(earlier)


async def test_who_reads_through_the_tables_own_files_gets_the_same(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1")
    async with state.database.write() as write:
        assert await replicas.claim(write, claim("r1", "h1"))
        assert [it.replica_id for it in await reservations.list_all(write.connection)] == ["r1"]
        assert (await hosts.all_by_id(write.connection))["h1"] == await hosts.get(write.connection, "h1")
    async with state.database.read() as connection:
        active, _ = await replicas.active_and_count(connection)
        assert active["r1"] == (await replicas.by_id(connection, ["r1"]))["r1"]
        assert active["r1"].host_id == "h1"
