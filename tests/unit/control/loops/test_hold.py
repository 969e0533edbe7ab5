"""loops/hold: what is said to those who wait; and what a gateway is given of a service that may sleep."""

import time
from dataclasses import dataclass, field
from typing import Any

from fixtures.control import State, add_host, add_replica, add_run, observe, revision, service
from homeport_control.domain.gateway import GatewaySnapshot
from homeport_control.domain.holding import UNKNOWN, Outlook
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.domain.services import RunState
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.loops.hold import HoldLoop
from homeport_control.store import replicas, runs

SLEEPS: dict[str, Any] = {"replicas": "0..2", "scaling": {"metric": "rps", "target": 10}}


@dataclass
class Held:
    """The loop with what it told."""

    state: State
    held: dict[str, int] = field(default_factory=dict)
    told: dict[str, Outlook] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = HoldLoop(self.state.database, lambda: self.held, self.told.__setitem__)

    async def turn(self) -> str:
        return (await self.loop.turn(time.time())).sentence


async def test_while_nobody_waits_it_looks_at_nothing(state: State) -> None:
    held = Held(state)
    await add_run(state, **SLEEPS)
    assert await held.turn() == "no request is held"
    assert held.told == {}


async def test_those_who_wait_hear_of_the_starts_that_were_measured(state: State) -> None:
    held = Held(state, {"hello": 2})
    await add_host(state)
    run_id = await add_run(state, **SLEEPS)
    assert await held.turn() == "2 requests held for hello"
    assert held.told == {"hello": UNKNOWN}
    await add_replica(state, run_id, "r1", host_id="h1", created_at_s=1200.0)
    await observe(state, "h1", "r1", Phase.READY, host_port=40000)
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
    await held.turn()
    assert held.told["hello"].cold_start_s == 34.0  # observed at 1234


async def test_those_who_wait_for_a_run_that_failed_hear_its_sentence(state: State) -> None:
    held = Held(state, {"hello": 1, "gone": 1})
    run_id = await add_run(state, **SLEEPS)
    async with state.database.write() as write:
        await runs.update(
            write, run_id, state=RunState.FAILED, reason="replica 0: exited with code 1.", ended_at_s=2000.0
        )
    assert await held.turn() == (
        "1 request held for gone; there is no such service; "
        "1 request held for hello; it has failed: replica 0: exited with code 1"
    )
    assert held.told["hello"].hopeless == "it has failed: replica 0: exited with code 1"
    await add_run(state, at_s=3000.0, **SLEEPS)
    await held.turn()
    assert held.told["hello"] == UNKNOWN, "the newest of that name counts"


@dataclass
class Published:
    """A gateway's loop with what it published; the test is the Envoy."""

    state: State
    snapshots: list[GatewaySnapshot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = GatewayLoop(self.state.database)
        self.loop.publish = self.publish

    def publish(self, snapshot: GatewaySnapshot) -> int:
        self.snapshots.append(snapshot)
        return len(self.snapshots)

    async def turn(self) -> tuple[bool, bool, list[bool]]:
        """Of what was given: whether it may sleep, whether it is held, and of each endpoint whether it drains."""
        await self.loop.turn(time.time())
        (service,) = self.snapshots[-1].services
        return service.sleeps, service.held, [it.draining for it in service.endpoints]

    def ack(self) -> frozenset[str]:
        self.loop.on_acked("local", len(self.snapshots))
        return self.loop.in_rotation("local")


async def test_a_service_that_may_sleep_is_held_while_no_replica_serves_it(state: State) -> None:
    gateway = Published(state)
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    run_id = await add_run(state, **SLEEPS)
    assert await gateway.turn() == (True, True, [])
    assert gateway.loop.in_rotation("local") == frozenset()
    assert gateway.ack() == frozenset()
    await add_replica(state, run_id, "r1", host_id="h1")
    assert await gateway.turn() == (True, True, [])
    await observe(state, "h1", "r1", Phase.READY, host_port=40000)
    assert await gateway.turn() == (True, False, [False])
    assert gateway.loop.in_rotation("local") == frozenset(), "not before it is acknowledged"
    assert gateway.ack() == {"hello"}
    async with state.database.write() as write:
        await replicas.update(write, "r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time(), in_rotation=False)
    assert await gateway.turn() == (True, True, [True]), "held already while the last one drains"
    assert gateway.ack() == frozenset()


async def test_a_file_that_wants_a_replica_again_lets_requests_wait_for_it(state: State) -> None:
    gateway = Published(state)
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    run_id = await add_run(state, **SLEEPS)
    assert (await gateway.turn())[1]
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(replicas=1)), 2000.0)
    assert (await gateway.turn())[1]
    await add_replica(state, run_id, "r1", host_id="h1", revision=2)
    await observe(state, "h1", "r1", Phase.READY, host_port=40000)
    assert await gateway.turn() == (True, False, [False]), "its cluster stays as it is while the endpoint comes"
    assert await gateway.turn() == (False, False, [False])
    await observe(state, "h1", "r1", Phase.UNREADY, host_port=40000)
    assert await gateway.turn() == (False, False, [])


async def test_a_service_of_a_fixed_number_is_never_held(state: State) -> None:
    gateway = Published(state)
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    await add_run(state, replicas=1)
    assert await gateway.turn() == (False, False, [])


async def test_a_run_that_is_being_stopped_is_not_held(state: State) -> None:
    gateway = Published(state)
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    run_id = await add_run(state, **SLEEPS)
    async with state.database.write() as write:
        await runs.update(write, run_id, wanted="stop")
    assert (await gateway.turn())[1] is False
