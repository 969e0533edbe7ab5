"""The composition root: makes the parts, joins them, holds the one TaskGroup.

Covers wiring and the end of the process. A signal ends the agent, never the containers or Envoy. A bug in any task
ends the process too, and its supervisor starts it again: it then adopts what runs.
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Any

from homeport_agent import events as ev
from homeport_agent import lock, renewal
from homeport_agent.admission import Look
from homeport_agent.code.room import CodeRoom
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.envoy.bootstrap import Identity as EnvoyIdentity
from homeport_agent.envoy.host import EnvoyHost
from homeport_agent.facts import FactsSampler
from homeport_agent.gateway import GatewayHost
from homeport_agent.gpus.base import Gpus
from homeport_agent.gpus.model import Finding
from homeport_agent.gpus.nvml import NvmlGpus
from homeport_agent.health import overrides
from homeport_agent.health.check import CudaCheck
from homeport_agent.health.room import HealthRoom
from homeport_agent.health.xids import BUILT_IN, Table
from homeport_agent.identity import IdentityStore
from homeport_agent.journal import Journal
from homeport_agent.link import Link
from homeport_agent.log_archive import LogArchive
from homeport_agent.logs import LogStreams
from homeport_agent.machine import Machine
from homeport_agent.model import (
    AssignedReplica,
    Assignment,
    GatewayObserved,
    GatewayRole,
    HostFacts,
    Phase,
    ReplicaObserved,
)
from homeport_agent.runner import Runner
from homeport_agent.settings import AgentSettings
from homeport_agent.stats import StatsDesk
from homeport_agent.telemetry.changes import News
from homeport_agent.telemetry.room import TelemetryRoom

log = logging.getLogger("homeport.agent")

LAST_WRITE_S = 5.0


class Stopped(Exception):
    """SIGTERM or SIGINT."""


class ThisHost:
    """What the link tells about, put together from the parts."""

    def __init__(
        self,
        machine: Machine,
        runner: Runner,
        sampler: FactsSampler,
        gateway: GatewayHost,
        health: HealthRoom,
        telemetry: TelemetryRoom,
    ) -> None:
        self._health = health
        self._telemetry = telemetry
        self._machine = machine
        self._runner = runner
        self._sampler = sampler
        self._gateway = gateway
        self._known = asyncio.Event()
        self.roles: asyncio.Queue[GatewayRole | None] = asyncio.Queue(1)  # only the newest wish

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

    def gateway(self) -> GatewayObserved | None:
        return self._gateway.observed()

    def accepted_generation(self) -> int:
        accepted = self._machine.accepted
        return accepted.generation if accepted else 0

    def assigned(self, assignment: Assignment) -> None:
        before = self._machine.accepted
        self._runner.feed(ev.AssignmentReceived(assignment))
        if self._machine.accepted is assignment:
            log.info("assignment generation=%d replicas=%d", assignment.generation, len(assignment.replicas))
            self.wish_role(assignment.gateway)
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

    def wish_role(self, role: GatewayRole | None) -> None:
        if self.roles.full():
            self.roles.get_nowait()
        self.roles.put_nowait(role)

    async def run_roles(self) -> None:
        while True:
            await self._gateway.apply(await self.roles.get())

    def changed(self) -> None:
        if self._machine.can_tell:
            self._known.set()

    async def settled(self) -> None:
        await self._known.wait()


async def run(settings: AgentSettings) -> None:
    """Run until a signal. Raises NotJoined, AlreadyRunning, OSError before anything has begun."""
    store = IdentityStore(settings.state_dir)
    identity = store.read()
    held = lock.take(settings.state_dir)
    boot_id = uuid.uuid4().hex
    engine, gpus, machine = DockerEngine(settings.docker_socket), NvmlGpus(), Machine()
    journal = Journal(settings.state_dir / "journal.json")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:

            def spawn(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
                return group.create_task(work)

            def changed() -> None:
                host.changed()
                link.changed()

            gateway = _envoy(settings, store, changed)
            health = HealthRoom(settings.state_dir, CudaCheck(), changed, _xid_table(settings))
            await asyncio.to_thread(health.read)
            telemetry = TelemetryRoom(machine.running, lambda: link.has_readings(), changed)
            sampler = FactsSampler(engine, gpus, identity.name, changed, health, telemetry)
            code = CodeRoom(settings.state_dir, store.read)
            archive = LogArchive(settings.state_dir / "logs")
            runner = Runner(
                *(machine, engine, identity.server_id, spawn, changed, journal.keep, code, archive),
                look=lambda: _look(sampler, health),
            )
            host = ThisHost(machine, runner, sampler, gateway, health, telemetry)
            stats = StatsDesk(engine, gpus, host.assigned_replica, spawn)
            link = Link(store, host, LogStreams(engine, spawn, archive), stats, boot_id, version("homeport"))

            log.info("agent of %s (host %s), server %s", identity.name, identity.host_id, identity.link_target)
            entry = await asyncio.to_thread(journal.read)
            if entry is not None and entry.assignment.server_id == identity.server_id:
                runner.feed(ev.JournalRead(entry))
                host.wish_role(entry.assignment.gateway)
            await sampler.sample()
            for work in (
                journal.run(),
                runner.run_watch(),
                runner.run_clock(),
                runner.run_second_line(),
                archive.run(),
                sampler.run(),
                health.run(),
                health.run_saves(),
                _tell_xids(gpus, health),
                gateway.run(),
                host.run_roles(),
                code.run(host.code_in_use, host.is_quiet),
                link.run(),
                renewal.run(store),
                _until(stop),
            ):
                spawn(work)
    except* Stopped:
        log.info("stopped by a signal; containers go on")
    finally:
        await _write_last(journal)
        await gpus.close()
        await engine.close()
        lock.release(held)


def _look(sampler: FactsSampler, health: HealthRoom) -> Look:
    seen = sampler.newest
    return Look(seen.gpus, health.findings, seen.unavailable, seen.driver_trouble, sampler.newest_s)


def _xid_table(settings: AgentSettings) -> Table:
    try:
        return overrides.read(settings.xid_table or settings.state_dir / "xids.toml")
    except overrides.BadTable as error:
        log.error("%s", error)
        return BUILT_IN


async def _tell_xids(gpus: Gpus, health: HealthRoom) -> None:
    while True:
        for event in await gpus.xids():
            health.xid(event)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped


async def _write_last(journal: Journal) -> None:
    try:
        async with asyncio.timeout(LAST_WRITE_S):
            await journal.flush()
    except TimeoutError:
        log.error("the journal could not be written before the end")


def _envoy(settings: AgentSettings, store: IdentityStore, on_change: Any) -> GatewayHost:
    def identity() -> EnvoyIdentity:
        host_id = store.read().host_id
        return EnvoyIdentity(host_id, store.path("certificate.pem"), store.path("key.pem"), store.path("ca.pem"))

    return EnvoyHost(
        settings.state_dir,
        identity,
        lambda: store.read().server_host,
        on_change,
        concurrency=settings.envoy_concurrency,
    )
