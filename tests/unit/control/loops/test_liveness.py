"""loops/liveness: what is lost with its host, what is found with it, and what a new server knows of anybody."""

import pytest
from fixtures.control import State, add_host, add_replica, add_run, get_host, get_replica
from homeport_control.domain.hosts import Connection
from homeport_control.loops.liveness import LivenessLoop, forget_sessions
from homeport_control.store import hosts


@pytest.fixture
async def loop(state: State) -> LivenessLoop:
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    return LivenessLoop(state.database, lost_after_s=10.0)


async def connection(state: State, connection: Connection, since_s: float) -> None:
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"connection": connection, "connection_since_s": since_s})


async def is_lost(state: State) -> bool:
    return (await get_replica(state, "r1")).lost


async def test_replicas_are_lost_only_after_the_given_time_and_found_again(state: State, loop: LivenessLoop) -> None:
    await connection(state, Connection.UNREACHABLE, 1000.0)
    turn = await loop.turn(1009.0)
    assert not await is_lost(state)
    assert turn.wake_at_s == 1010.0, "nothing else would wake it then"
    assert (await loop.turn(1010.0)).sentence == "0 of 1 host connected, 0 unreachable, 1 lost"
    assert await is_lost(state)
    await connection(state, Connection.CONNECTED, 1020.0)
    turn = await loop.turn(1020.0)
    assert not await is_lost(state)
    assert turn.wake_at_s is None


async def test_who_is_connected_loses_nothing_however_long(state: State, loop: LivenessLoop) -> None:
    turn = await loop.turn(9_000_000.0)
    assert not await is_lost(state)
    assert (turn.sentence, turn.wake_at_s) == ("1 of 1 host connected", None)


async def test_a_turn_that_finds_nothing_new_writes_nothing(state: State, loop: LivenessLoop) -> None:
    await connection(state, Connection.UNREACHABLE, 1000.0)
    await loop.turn(1010.0)
    with state.database.changes.subscribe("replicas", "hosts") as woken:
        await loop.turn(1011.0)
        assert not await woken.wait(0)


async def test_when_most_hosts_vanish_at_once_nothing_is_lost(state: State, loop: LivenessLoop) -> None:
    for host_id in ("h2", "h3"):
        await add_host(state, host_id, connected=False)  # since 1000
    await connection(state, Connection.UNREACHABLE, 1000.0)
    turn = await loop.turn(1100.0)
    assert "3 of 3 hosts vanished" in turn.sentence
    assert not await is_lost(state)


async def test_a_new_server_has_heard_nobody_yet(state: State, loop: LivenessLoop) -> None:
    await add_host(state, "away", connected=False)
    await forget_sessions(state.database, 2000.0)
    host = await get_host(state, "h1")
    assert (host.connection, host.connection_since_s) == (Connection.UNREACHABLE, 2000.0)
    assert "the server started anew" in host.connection_reason
    assert (await get_host(state, "away")).connection_since_s == 1000.0, "who was away is away since then"


async def test_the_servers_own_absence_is_not_counted_as_a_hosts(state: State, loop: LivenessLoop) -> None:
    await connection(state, Connection.UNREACHABLE, 1000.0)  # noted as the last server ended
    await forget_sessions(state.database, 1060.0)
    await loop.turn(1069.0)
    assert not await is_lost(state)
    await loop.turn(1071.0)
    assert await is_lost(state)
    await forget_sessions(state.database, 2000.0)
    assert (await get_host(state, "h1")).connection_since_s == 1060.0, "what was lost stays so, since then"
    await loop.turn(2001.0)
    assert await is_lost(state)


async def test_what_is_lost_with_its_host_has_the_cause_of_the_hosts_going(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state)
    await add_replica(state, run_id, "r1", host_id="h1", cause_id="apply")
    async with state.database.write(cause_id="power") as write:
        gone = {"connection": Connection.UNREACHABLE, "connection_reason": "silent", "connection_since_s": 1000.0}
        await hosts.update(write, "h1", gone)
    await LivenessLoop(state.database, 10.0).turn(5000.0)
    replica = await get_replica(state, "r1")
    assert (replica.lost, replica.cause_id) == (True, "power")


async def test_a_host_that_was_let_go_is_not_missed(state: State, loop: LivenessLoop) -> None:
    for host_id in ("h2", "h3"):
        await add_host(state, host_id)
        async with state.database.write() as write:
            await hosts.update(write, host_id, {"connection": Connection.RELEASED, "connection_since_s": 1000.0})
    assert (await loop.turn(5000.0)).sentence == "1 of 1 host connected"
