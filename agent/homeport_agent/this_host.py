"""This host as the link tells of it and hears for it, put together from the parts; and taking away all that is on it."""

import asyncio
import logging
from contextlib import suppress

from homeport_agent import events as ev
from homeport_agent.envoy.door import Door
from homeport_agent.envoy.edge import Edge
from homeport_agent.facts import FactsSampler
from homeport_agent.gateway import GatewayHost
from homeport_agent.gpus.model import Finding
from homeport_agent.health.room import HealthRoom
from homeport_agent.machine import Machine
from homeport_agent.model import (
    AssignedReplica,
    Assignment,
    DoorObserved,
    EdgeObserved,
    GatewayObserved,
    GatewayRole,
    HostFacts,
    Phase,
    Reached,
    ReplicaObserved,
)
from homeport_agent.reaching import Reaching
from homeport_agent.runner import Runner
from homeport_agent.telemetry.changes import News
from homeport_agent.telemetry.room import TelemetryRoom

log = logging.getLogger("homeport.agent")

LEAVE_S = 900.0  # for containers to end by themselves
LEAVE_LOOK_S = 1.0
LOOK_AGAIN_S = 0.05


class ThisHost:
    """See link.Host."""

    def __init__(
        self,
        machine: Machine,
        runner: Runner,
        sampler: FactsSampler,
        gateway: GatewayHost,
        health: HealthRoom,
        telemetry: TelemetryRoom,
        server_id: str,
        door: Door,
        reaching: Reaching,
        edge: Edge,
    ) -> None:
        self._edge = edge
        self._door = door
        self._reaching = reaching
        self._server_id = server_id
        self._moved = asyncio.Event()
        self._health = health
        self._telemetry = telemetry
        self._machine = machine
        self._runner = runner
        self._sampler = sampler
        self._gateway = gateway
        self._known = asyncio.Event()
        self._listed = asyncio.Event()  # the server has said what is to run here
        self._has_settled = False  # a session has begun before
        self.roles: asyncio.Queue[tuple[GatewayRole, ...]] = asyncio.Queue(1)  # only the newest wish

    def facts(self) -> HostFacts:
        return self._sampler.facts

    def replicas(self) -> tuple[ReplicaObserved, ...]:
        return self._machine.observe(self._runner.now_s())

    def findings(self) -> tuple[Finding, ...]:
        return (*self._health.findings, *self._telemetry.findings)

    def clear_findings(self, gpu_uuids: tuple[str, ...]) -> None:
        self._health.clear(gpu_uuids)

    def news(self, *, anew: bool = False) -> News | None:
        return self._telemetry.news(anew=anew)

    def server_clock(self, offset_s: float) -> None:
        self._telemetry.clock_offset_s = offset_s

    def gateways(self) -> tuple[GatewayObserved, ...]:
        return self._gateway.observed()

    def door(self) -> DoorObserved | None:
        return self._door.observed()

    def edge(self) -> EdgeObserved | None:
        return self._edge.observed()

    def reached(self) -> tuple[Reached, ...]:
        return self._reaching.observed()

    def accepted_generation(self) -> int:
        accepted = self._machine.accepted
        return accepted.generation if accepted else 0

    def assigned(self, assignment: Assignment) -> None:
        before = self._machine.accepted
        self._runner.feed(ev.AssignmentReceived(assignment))
        self._listed.set()
        if self._machine.accepted is assignment:
            log.info("assignment generation=%d replicas=%d", assignment.generation, len(assignment.replicas))
            self.take_paths(assignment)
        elif before is not None:
            log.warning("assignment generation=%d ignored: older than %d", assignment.generation, before.generation)

    def assigned_replica(self, replica_id: str) -> AssignedReplica | None:
        held = self._machine.replica_of(replica_id)
        return held.assigned if held else None

    def code_in_use(self) -> frozenset[str] | None:
        accepted = self._machine.accepted
        return None if accepted is None else frozenset(it.code_id for it in accepted.replicas if it.code_id)

    def is_quiet(self) -> bool:
        return not any(it.phase in (Phase.PULLING, Phase.STARTING) for it in self._machine.observe(None))

    def take_paths(self, assignment: Assignment) -> None:
        """What this host is for requests: gateways, a door for those of others, and whose doors it dials."""
        self.wish_roles(assignment.gateways)
        self._door.apply(assignment.door)
        self._reaching.apply(assignment.reach)
        self._edge.apply(assignment.edge)

    def wish_roles(self, roles: tuple[GatewayRole, ...]) -> None:
        if self.roles.full():
            self.roles.get_nowait()
        self.roles.put_nowait(roles)

    async def run_roles(self) -> None:
        while True:
            await self._gateway.apply(await self.roles.get())

    async def leave(self) -> None:
        """Take away all that is the server's. Raises TimeoutError when something stays."""
        accepted = self._machine.accepted
        server_id = accepted.server_id if accepted else self._server_id
        nothing = Assignment(server_id, self.accepted_generation() + 1)
        self._runner.feed(ev.AssignmentReceived(nothing))
        self.take_paths(nothing)
        async with asyncio.timeout(LEAVE_S):
            while (
                not self._machine.containers_known or self.replicas() or self.gateways() or self.door() or self.edge()
            ):
                self._moved.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._moved.wait(), LEAVE_LOOK_S)

    def changed(self) -> None:
        self._door.look_again()
        self._moved.set()
        if self._machine.can_tell:
            self._known.set()

    async def settled(self) -> None:
        await self._known.wait()
        # A report of nothing, or of replicas that no probe has asked yet, would take what serves out of the gateways.
        if self._machine.waits_for_a_list:
            await self._listed.wait()
        is_first, self._has_settled = not self._has_settled, True
        if is_first and self._machine.has_no_journal:  # also when the server's list was here before the engine's
            while any(it.phase is Phase.PROBING for it in self._machine.observe(None)):  # noqa: ASYNC110 - link bounds it
                await asyncio.sleep(LOOK_AGAIN_S)
