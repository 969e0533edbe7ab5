"""loops/on_demand and loops/outcomes: what is written before an errand, what it carries, and what came of it."""

from dataclasses import replace
from typing import Any

import pytest
from fixtures.control import FACTS, State, add_host, add_replica, add_run, get_host
from homeport_control.api.fleets import new_token
from homeport_control.decide.on_demand import FIRST_RETRY_S
from homeport_control.domain.fleets import Errand, Fleet, Phase, Place, Registration, Standby
from homeport_control.domain.hosts import Connection
from homeport_control.loops.on_demand import NO_ACCESS, OnDemandLoop
from homeport_control.loops.outcomes import Outcomes
from homeport_control.store import events, fleets, replicas, tokens
from homeport_control.store.connect import Write
from homeport_control.trust.tokens import sha256_hex

NOW_S = 5000.0
PLACE = Place("gpu-1", 22, "ops")


class Machines:
    """Keeps what they were sent."""

    def __init__(self) -> None:
        self.errands: list[Errand] = []
        self.busy = True  # with all that they were sent

    def send(self, errand: Errand) -> None:
        self.errands.append(errand)

    def is_busy(self, key: str) -> bool:
        return self.busy and any(it.registration.key == key for it in self.errands)


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def loop(state: State, machines: Machines) -> OnDemandLoop:
    return again(state, machines)


def again(state: State, machines: Machines) -> OnDemandLoop:
    """One more server's."""

    async def token(write: Write, fleet: str, now_s: float) -> str:
        return await new_token(write, state.ca.sha256, fleet, now_s)

    return OnDemandLoop(state.database, state.sealer, token, machines.send, machines.is_busy)


async def register(state: State, *, access: str = "secret", host_id: str = "", **values: Any) -> None:
    standby = Standby(
        **{"phase": Phase.RELEASED, "since_s": NOW_S - 10, "facts": FACTS, "idle_duration_s": 60, **values}
    )
    known = Registration("local", PLACE, "looked at", NOW_S, host_id=host_id, standby=standby)
    async with state.database.write() as write:
        await fleets.put(write, Fleet("local", on_demand=True, idle_duration_s=60, power_off=True, server="s:7400"))
        await fleets.register(write, known)
        if access:
            await fleets.keep_access(write, known, state.sealer.seal(access))


async def registered(state: State) -> Registration:
    async with state.database.read() as connection:
        [found] = await fleets.registered(connection, "local")
    return found


async def standby_of(state: State) -> Standby:
    standby = (await registered(state)).standby
    assert standby is not None
    return standby


async def told(state: State) -> list[str]:
    async with state.database.read() as connection:
        return [it.sentence for it in await events.newest(connection, events.Filter(), 20)]


async def a_run_waits(state: State, **fields: Any) -> None:
    await add_replica(state, await add_run(state, "llm", **fields), "r1")


async def test_a_server_without_on_demand_hosts_has_nothing_to_do(loop: OnDemandLoop) -> None:
    assert (await loop.turn(NOW_S)).sentence == "there are no on-demand hosts"


async def test_a_machine_is_brought_up_for_a_run_with_a_token_and_the_key_opened(
    state: State, loop: OnDemandLoop, machines: Machines
) -> None:
    await register(state)
    assert (await loop.turn(NOW_S)).sentence == "0 of 1 on-demand hosts are up"
    await a_run_waits(state)
    assert (await loop.turn(NOW_S)).sentence == "gpu-1 is brought up for llm"
    await loop.turn(NOW_S + 1)
    [errand] = machines.errands
    assert (errand.access, errand.server, errand.brings_up, errand.power_off) == ("secret", "s:7400", True, True)
    assert "secret" not in repr(errand)
    async with state.database.read() as connection:
        record = await tokens.by_hash(connection, sha256_hex(errand.token))
    assert record is not None
    assert (record.role, record.fleet, record.one_use) == ("join", "local", True)
    standby = await standby_of(state)
    assert (standby.phase, standby.run_name) == (Phase.COMING, "llm")
    assert "host box is brought up for llm: no connected host has room" in await told(state)


@pytest.mark.parametrize(
    ("says", "idle_s"), [({}, 60), ({"idle_duration": "1h"}, 3600), ({"idle_duration": "off"}, None)]
)
async def test_how_long_it_stays_says_the_runs_file_or_else_the_fleets(
    state: State, loop: OnDemandLoop, says: dict[str, str], idle_s: int | None
) -> None:
    await register(state)
    await a_run_waits(state, **says)
    await loop.turn(NOW_S)
    assert (await standby_of(state)).idle_duration_s == idle_s


async def test_a_run_that_only_reuses_brings_nobody_up(state: State, loop: OnDemandLoop, machines: Machines) -> None:
    await register(state)
    await a_run_waits(state, creation_policy="reuse")
    await loop.turn(NOW_S)
    assert machines.errands == []


async def test_what_a_killed_server_had_begun_is_sent_again(state: State, machines: Machines) -> None:
    await register(state)
    await a_run_waits(state)
    await again(state, machines).turn(NOW_S)
    machines.busy = False
    await again(state, machines).turn(NOW_S + 1)
    assert [it.brings_up for it in machines.errands] == [True, True]


async def test_without_a_key_it_fails_in_words_and_waits(state: State, loop: OnDemandLoop, machines: Machines) -> None:
    await register(state, access="")
    await a_run_waits(state)
    await loop.turn(NOW_S)
    found = await registered(state)
    assert (machines.errands, found.error) == ([], NO_ACCESS)
    assert found.standby is not None
    assert (found.standby.phase, found.standby.retry_at_s) == (Phase.RELEASED, NOW_S + FIRST_RETRY_S)
    assert (await loop.turn(NOW_S + 1)).wake_at_s == NOW_S + FIRST_RETRY_S


async def up(state: State, since_s: float = NOW_S - 100) -> None:
    await add_host(state)
    await register(state, host_id="h1", phase=Phase.UP, since_s=since_s)


async def test_a_host_is_out_of_placements_reach_before_its_agent_is_stopped(
    state: State, loop: OnDemandLoop, machines: Machines
) -> None:
    await up(state)
    assert (await loop.turn(NOW_S)).sentence == "gpu-1 is let go"
    host = await get_host(state, "h1")
    assert (host.connection, host.connection_reason) == (Connection.RELEASED, "nothing has run on it for 100s")
    assert [it.brings_up for it in machines.errands] == [False]
    async with state.database.read() as connection:
        assert await fleets.is_going(connection, "h1")


async def test_the_time_counts_from_the_end_of_the_last_replica(
    state: State, loop: OnDemandLoop, machines: Machines
) -> None:
    await up(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    await loop.turn(NOW_S)
    async with state.database.write() as write:
        await replicas.end(write, "r1", NOW_S - 20)
    assert (await loop.turn(NOW_S)).wake_at_s == NOW_S + 40
    assert machines.errands == []
    await loop.turn(NOW_S + 40)
    assert len(machines.errands) == 1


async def test_one_that_connects_by_itself_is_up(state: State, loop: OnDemandLoop) -> None:
    await add_host(state)
    await register(state, host_id="h1")
    await loop.turn(NOW_S)
    assert (await standby_of(state)).phase is Phase.UP


async def sent(loop: OnDemandLoop, machines: Machines) -> Errand:
    await loop.turn(NOW_S)
    [errand] = machines.errands
    return errand


@pytest.fixture
def outcomes(state: State) -> Outcomes:
    return Outcomes(state.database, lambda host_id: True)


async def test_a_machine_that_came_is_the_host_that_it_joined_as(
    state: State, loop: OnDemandLoop, machines: Machines, outcomes: Outcomes
) -> None:
    await register(state)
    await a_run_waits(state)
    errand = await sent(loop, machines)
    await outcomes.stepped(errand, "installing")
    assert (await registered(state)).step == "installing"
    await add_host(state, "h2")
    await outcomes.done(errand, "h2")
    host = await get_host(state, "h2")
    assert (host.address, host.backend) == ("gpu-1", "ssh")
    found = await registered(state)
    assert (found.host_id, found.error, (await standby_of(state)).phase) == ("h2", "", Phase.UP)


async def test_a_failure_is_told_and_tried_again_later_each_time_later(
    state: State, loop: OnDemandLoop, machines: Machines, outcomes: Outcomes
) -> None:
    await register(state)
    await a_run_waits(state)
    await outcomes.failed(await sent(loop, machines), "no route")
    found = await registered(state)
    assert found.error == "no route"
    assert (await standby_of(state)).failures == 1
    assert "host box could not be brought up: no route; it is tried again in 30s at the earliest" in await told(state)
    await outcomes.failed(machines.errands[0], "no route")
    assert (await standby_of(state)).failures == 1, "that errand had ended"


async def test_a_host_that_was_let_go_is_missed_by_nobody_and_forgets_who_held_its_gpus(
    state: State, loop: OnDemandLoop, machines: Machines, outcomes: Outcomes
) -> None:
    await up(state)
    await outcomes.done(await sent(loop, machines), "h1")
    assert (await get_host(state, "h1")).connection is Connection.RELEASED
    assert (await standby_of(state)).phase is Phase.RELEASED


@pytest.mark.parametrize(("connected", "expected"), [(True, Connection.CONNECTED), (False, Connection.UNREACHABLE)])
async def test_a_host_that_could_not_be_let_go_is_a_host_again(
    state: State, loop: OnDemandLoop, machines: Machines, connected: bool, expected: Connection
) -> None:
    await up(state)
    await Outcomes(state.database, lambda host_id: connected).failed(await sent(loop, machines), "sudo refuses")
    assert (await get_host(state, "h1")).connection is expected
    standby = await standby_of(state)
    assert (standby.phase, standby.failures) == (Phase.UP, 1)


async def test_what_is_told_of_a_machine_that_was_taken_out_changes_nothing(
    state: State, loop: OnDemandLoop, machines: Machines, outcomes: Outcomes
) -> None:
    await register(state)
    await a_run_waits(state)
    errand = await sent(loop, machines)
    async with state.database.write() as write:
        await fleets.unregister(write, "local", [PLACE.address])
    await outcomes.stepped(errand, "installing")
    await outcomes.failed(errand, "no route")
    await outcomes.done(errand, "h9")
    async with state.database.read() as connection:
        assert await fleets.registered(connection) == ()


async def test_the_key_goes_with_on_demand(state: State) -> None:
    await register(state)
    found = await registered(state)
    async with state.database.write() as write:
        await fleets.register(write, replace(found, standby=None))
        assert await fleets.access(write.connection, found) is None
