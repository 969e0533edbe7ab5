"""The composition root: makes the parts, joins them, holds the one TaskGroup.

Covers wiring and the end of the process. A signal ends the agent, never the containers or Envoy. A bug in any task
ends the process too, and its supervisor starts it again: it then adopts what runs.
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any

from homeport_protos import lag

from homeport_agent import events as ev
from homeport_agent import lock, renewal
from homeport_agent.admission import Look
from homeport_agent.boot import machine_boot_id
from homeport_agent.build import this_build
from homeport_agent.code.room import CodeRoom
from homeport_agent.engine.base import Engine
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.engine.none import NoEngine
from homeport_agent.envoy.access_log import AccessLog
from homeport_agent.envoy.bootstrap import Identity as EnvoyIdentity
from homeport_agent.envoy.door import Door, own_address
from homeport_agent.envoy.edge import Edge
from homeport_agent.envoy.gateways import EnvoyGateways
from homeport_agent.envoy.host import EnvoyHost, run_dir
from homeport_agent.facts import FactsSampler
from homeport_agent.gateway import GatewayHost
from homeport_agent.gpus.base import Gpus
from homeport_agent.gpus.nvml import NvmlGpus
from homeport_agent.health import overrides
from homeport_agent.health.check import CudaCheck
from homeport_agent.health.room import HealthRoom
from homeport_agent.health.xids import BUILT_IN, Table
from homeport_agent.identity import IdentityStore
from homeport_agent.journal import Journal
from homeport_agent.link import Link, Removed, Software
from homeport_agent.log_archive import LogArchive
from homeport_agent.logs import LogStreams
from homeport_agent.machine import Machine
from homeport_agent.presence import Presence
from homeport_agent.reaching import Reaching
from homeport_agent.runner import Runner
from homeport_agent.settings import AgentSettings
from homeport_agent.stats import StatsDesk
from homeport_agent.telemetry.room import TelemetryRoom
from homeport_agent.this_host import LEAVE_S, ThisHost
from homeport_agent.upgrading import Upgrading
from homeport_agent.usage import UsageDesk

log = logging.getLogger("homeport.agent")

LAST_WRITE_S = 5.0
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Left(Exception):
    """This host was removed from its fleet, and is clean."""


class Stopped(Exception):
    """SIGTERM or SIGINT."""


async def run(settings: AgentSettings) -> bool:
    """Run until a signal, or until this host was removed from its fleet and nothing of it runs any more: then True.

    Raises NotJoined, AlreadyRunning, OSError before anything has begun.
    """
    store = IdentityStore(settings.state_dir)
    identity = store.read()
    held = lock.take(settings.state_dir)
    boot_id = uuid.uuid4().hex
    engine, gpus, machine = _engine(settings), NvmlGpus(), Machine(machine_boot_id())
    journal = Journal(settings.state_dir / "journal.json")
    stop, has_left = asyncio.Event(), False
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:

            def spawn(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
                return group.create_task(work)

            def changed() -> None:
                host.changed()
                link.changed()

            def access(gateway: str) -> AccessLog:
                return AccessLog(run_dir(settings.state_dir, gateway))

            installing = asyncio.Lock()
            usage = UsageDesk(access, spawn)
            gateway = _envoys(settings, store, changed, spawn, installing, usage.counted)
            door = Door(
                settings.state_dir,
                lambda: _envoy_identity(store),
                lambda: own_address(store.read().server_host, store.read().link_port),
                lambda: tuple(sorted(it.host_port for it in machine.observe(None) if it.host_port)),
                changed,
                installing,
                lambda: store.read().server_host,
            )
            edge = Edge(settings.state_dir, lambda: _envoy_identity(store), changed, installing)
            reaching = Reaching(lambda: _envoy_identity(store), changed)
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
            host = ThisHost(
                machine, runner, sampler, gateway, health, telemetry, identity.server_id, door, reaching, edge
            )
            stats = StatsDesk(engine, gpus, host.assigned_replica, spawn)
            software = Software(version("homeport"), this_build())
            presence = Presence(settings.state_dir, software.build)
            logs = LogStreams(engine, spawn, archive, access)
            upgrading = Upgrading(settings.state_dir, spawn)
            link = Link(store, host, logs, stats, boot_id, software, upgrading, presence.changed, usage)

            log.info("agent of %s (host %s), server %s", identity.name, identity.host_id, identity.link_target)
            entry = await asyncio.to_thread(journal.read)
            if entry is not None and entry.assignment.server_id == identity.server_id:
                runner.feed(ev.JournalRead(entry))
                host.take_paths(entry.assignment)
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
                door.run(),
                reaching.run(),
                edge.run(),
                host.run_roles(),
                presence.run(),
                code.run(host.code_in_use, host.is_quiet),
                _hold(link, host),
                renewal.run(store),
                lag.run(),
                _until(stop),
            ):
                spawn(work)
    except* Stopped:
        log.info("stopped by a signal; containers go on")
    except* Left:
        has_left = True
    finally:
        await _write_last(journal)
        await gpus.close()
        await engine.close()
        lock.release(held)
    return has_left


def _engine(settings: AgentSettings) -> Engine:
    if settings.docker_socket is None:
        return NoEngine(str(settings.state_dir))
    return DockerEngine(settings.docker_socket)


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


async def _hold(link: Link, host: ThisHost) -> None:
    """Hold the session. Raises Left after this host was removed, and all was taken away."""
    try:
        await link.run()
    except Removed as removed:
        log.warning("%s: taking its containers away", removed)
    else:
        return  # nothing but the server's word takes containers away
    while True:
        try:
            await host.leave()
        except TimeoutError:
            log.error("not all containers could be taken away within %g s; trying on", LEAVE_S)
        else:
            raise Left


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped


async def _write_last(journal: Journal) -> None:
    try:
        async with asyncio.timeout(LAST_WRITE_S):
            await journal.flush()
    except TimeoutError:
        log.error("the journal could not be written before the end")


def _envoy_identity(store: IdentityStore) -> EnvoyIdentity:
    host_id = store.read().host_id
    return EnvoyIdentity(host_id, store.path("certificate.pem"), store.path("key.pem"), store.path("ca.pem"))


def _envoys(
    settings: AgentSettings,
    store: IdentityStore,
    on_change: Callable[[], None],
    spawn: Spawn,
    installing: asyncio.Lock,
    counted: Callable[[str], Coroutine[Any, Any, None]],
) -> GatewayHost:
    def envoy(name: str) -> EnvoyHost:
        return EnvoyHost(
            settings.state_dir,
            name,
            lambda: _envoy_identity(store),
            lambda: store.read().server_host,
            on_change,
            concurrency=settings.envoy_concurrency,
            installing=installing,
        )

    return EnvoyGateways(settings.state_dir, envoy, spawn, counted)
