"""store/reservations: all of them come, also those of one host, and none that was given back."""

from fixtures.control import State, add_host, add_replica, add_run, claim
from homeport_control.store import replicas, reservations


async def test_all_are_read_and_by_host_until_they_are_given_back(state: State) -> None:
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    run_id = await add_run(state)
    ids = ["r3", "r1", "r5", "r2", "r4"]
    for number, replica_id in enumerate(ids):
        await add_replica(state, run_id, replica_id, index=number)
        async with state.database.write() as write:
            assert await replicas.claim(write, claim(replica_id, "h1" if number % 2 else "h2"))
        async with state.database.read() as connection:
            found = await reservations.list_all(connection)
        assert [it.replica_id for it in found] == sorted(ids[: number + 1])
    async with state.database.read() as connection:
        there = await reservations.by_host(connection)
        assert {host_id: [it.replica_id for it in of_host] for host_id, of_host in there.items()} == {
            "h1": ["r1", "r2"], "h2": ["r3", "r4", "r5"],
        }  # fmt: skip
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
    async with state.database.read() as connection:
        assert [it.replica_id for it in await reservations.list_all(connection)] == ["r2", "r3", "r4", "r5"]
