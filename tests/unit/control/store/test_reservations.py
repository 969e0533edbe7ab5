"""store/reservations: all of them come, or those of some hosts, however many pieces that takes."""

import pytest
from fixtures.control import State, add_host, add_replica, add_run, claim
from homeport_control.store import replicas, reservations


async def test_all_are_read_or_those_on_some_hosts_in_pieces(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "PIECE", 2)
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
        assert [it.replica_id for it in await reservations.list_all(connection, ["h1"])] == ["r1", "r2"]
        assert [it.replica_id for it in await reservations.list_all(connection, ["h2", "h9"])] == ["r3", "r4", "r5"]
        assert await reservations.list_all(connection, []) == ()
