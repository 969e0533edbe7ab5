"""The one session with the server: hello, reports, assignments, requests for logs; and connecting again.

Covers the wire and the waiting. Does not cover what an assignment does (machine) nor how logs are read (logs). While
there is no session nothing here matters to the containers: see silence.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from grpc.aio import AioRpcError
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.agent.v1.agent_pb2_grpc import AgentLinkStub
from homeport_protos.common.v1 import host_pb2
from homeport_protos.versions import PROTOCOL

from homeport_agent.channel import expiry_hint, mtls_channel, why
from homeport_agent.convert import (
    assignment_from_wire,
    door_to_wire,
    edge_to_wire,
    facts_to_wire,
    findings_to_wire,
    gateway_to_wire,
    replica_to_wire,
    telemetry_to_wire,
)
from homeport_agent.gpus.model import Finding
from homeport_agent.identity import Identity, IdentityStore
from homeport_agent.model import (
    Assignment,
    DoorObserved,
    EdgeObserved,
    GatewayObserved,
    HostFacts,
    Reached,
    ReplicaObserved,
)
from homeport_agent.outbox import Due, Outbox
from homeport_agent.reconnecting import FIRST_PAUSE_S, longer_s, wait_s
from homeport_agent.telemetry.changes import News

log = logging.getLogger("homeport.agent")

WELCOME_S = 10.0
SETTLE_S = 5.0  # how long the first report waits for the list of containers
DEFAULT_REPORT_INTERVAL_S = 2.0
MOST_TELEMETRY_INTERVAL_S = 60.0  # whatever a server says
EARLY_S = 0.5  # a sample that comes so much before its time is sent all the same: there is one a second


class Host(Protocol):
    """What the link tells about, and whom it tells."""

    def facts(self) -> HostFacts: ...
    def replicas(self) -> tuple[ReplicaObserved, ...]: ...
    def gateways(self) -> tuple[GatewayObserved, ...]: ...
    def door(self) -> DoorObserved | None: ...
    def reached(self) -> tuple[Reached, ...]: ...
    def edge(self) -> EdgeObserved | None: ...
    def accepted_generation(self) -> int: ...
    async def settled(self) -> None:
        """Returns once the containers on this host are known, or that they cannot be."""

    def assigned(self, assignment: Assignment) -> None: ...
    def findings(self) -> tuple[Finding, ...]: ...
    def clear_findings(self, gpu_uuids: tuple[str, ...]) -> None: ...
    def news(self, *, anew: bool = False) -> News | None:
        """Readings that were not told yet; `anew`: to a server that knows none. None: nothing new."""

    def server_clock(self, offset_s: float) -> None:
        """How far this host's clock is ahead of the server's."""


class LogDesk(Protocol):
    """Who answers requests for logs on one session after the other."""

    def opened(self, outbox: Outbox) -> None: ...
    def requested(self, request: agent_pb2.LogRequest) -> None: ...
    def credited(self, request_id: int, lines: int) -> None: ...
    def cancelled(self, request_id: int) -> None: ...
    def closed(self) -> None: ...


class StatsDesk(Protocol):
    """Who answers requests for what replicas use."""

    def opened(self, outbox: Outbox) -> None: ...
    def requested(self, request: agent_pb2.StatsRequest) -> None: ...


@dataclass(frozen=True, slots=True)
class Software:
    """Which agent this is."""

    version: str
    build: str = ""


class UpgradeDesk(Protocol):
    """Who makes another build of this agent."""

    def opened(self, outbox: Outbox) -> None: ...
    def requested(self, request: agent_pb2.Upgrade) -> None: ...


class UsageDesk(Protocol):
    """Who says what the gateways of this host have counted."""

    def opened(self, outbox: Outbox) -> None: ...
    def requested(self, request: agent_pb2.UsageRequest) -> None: ...
    def closed(self) -> None: ...


class Removed(Exception):
    """The server says that this host is not of its fleet any more."""


class SessionEnded(Exception):
    """One line why."""


class Link:
    def __init__(
        self,
        store: IdentityStore,
        host: Host,
        desk: LogDesk,
        stats: StatsDesk,
        boot_id: str,
        software: Software,
        upgrades: UpgradeDesk,
        on_session: Callable[[str], None] = lambda server: None,
        usage: UsageDesk | None = None,
    ) -> None:
        """`on_session` hears the server when it has welcomed this host, and "" when that is over."""
        self._usage = usage
        self._store = store
        self._host = host
        self._desk = desk
        self._stats = stats
        self._boot_id = boot_id
        self._software = software
        self._upgrades = upgrades
        self._on_session = on_session
        self._sequence = 0
        self._outbox = Outbox()
        self._is_welcome = asyncio.Event()
        self._report_interval_s = DEFAULT_REPORT_INTERVAL_S
        self._telemetry_interval_s, self._telemetry_at_s = 0.0, float("-inf")

    def changed(self) -> None:
        """Something that the server is told has changed."""
        self._outbox.report_due()

    def has_readings(self) -> None:
        """There is a new sample. In a large fleet not each of them is told: what moved since is in a later one."""
        now_s = time.monotonic()
        if now_s - self._telemetry_at_s >= self._telemetry_interval_s:
            self._telemetry_at_s = now_s
            self._outbox.telemetry_due()

    async def run(self) -> None:
        """Hold a session until cancelled; after a break try again, later and later, never all agents at once.

        Raises Removed.
        """
        pause_s, last_said = FIRST_PAUSE_S, ""
        while True:
            identity = self._store.read()
            began_s = time.monotonic()
            try:
                await self._session(identity)
            except SessionEnded as ended:
                reason = str(ended)
            if self._is_welcome.is_set() and time.monotonic() - began_s > pause_s:
                pause_s = FIRST_PAUSE_S
            if reason != last_said or self._is_welcome.is_set():
                log.warning("no session: %s%s; containers go on, trying again", reason, expiry_hint(identity))
                last_said = reason
            await asyncio.sleep(wait_s(pause_s, random.random()))  # noqa: S311 - jitter, no secret
            pause_s = longer_s(pause_s)

    async def _session(self, identity: Identity) -> None:
        """One session; always ends with SessionEnded, or Removed."""
        self._outbox, self._is_welcome = Outbox(), asyncio.Event()
        self._desk.opened(self._outbox)
        self._stats.opened(self._outbox)
        if self._usage is not None:
            self._usage.opened(self._outbox)
        try:
            async with mtls_channel(identity) as channel:
                call = AgentLinkStub(channel).Session(self._outgoing(self._outbox, self._is_welcome))
                messages = aiter(call)
                began_s = time.time()
                async with asyncio.timeout(WELCOME_S):
                    first = await anext(messages)
                self._welcomed(first, identity, began_s)
                async for message in messages:
                    self._heard(message, identity)
            raise SessionEnded(f"the server at {identity.link_target} ended it")
        except AioRpcError as error:
            raise SessionEnded(why(error, identity.link_target)) from None
        except TimeoutError:
            raise SessionEnded(f"the server at {identity.link_target} did not say welcome") from None
        except StopAsyncIteration:
            raise SessionEnded(f"the server at {identity.link_target} ended it at once") from None
        finally:
            self._outbox.close()
            self._desk.closed()
            if self._usage is not None:
                self._usage.closed()
            self._on_session("")

    def _welcomed(self, message: agent_pb2.ToAgent, identity: Identity, began_s: float) -> None:
        if message.WhichOneof("message") == "removed":
            raise Removed(f"this host was removed from the fleet of the server at {identity.link_target}")
        if message.WhichOneof("message") != "welcome":
            raise SessionEnded("the server did not begin with a welcome")
        if message.welcome.server_id != identity.server_id:
            raise SessionEnded(f"the server calls itself {message.welcome.server_id}, this host joined another one")
        if message.welcome.at_s:
            # Its answer was made about half-way between our hello and now.
            self._host.server_clock((began_s + time.time()) / 2 - message.welcome.at_s)
        if message.welcome.notice:
            log.error("%s", message.welcome.notice)
        self._report_interval_s = message.welcome.report_interval_s or DEFAULT_REPORT_INTERVAL_S
        self._telemetry_interval_s = min(message.welcome.telemetry_interval_s, MOST_TELEMETRY_INTERVAL_S) - EARLY_S
        self._telemetry_at_s = float("-inf")
        self._is_welcome.set()
        self._on_session(identity.link_target)
        self._upgrades.opened(self._outbox)
        log.info("session with %s", identity.link_target)

    def _heard(self, message: agent_pb2.ToAgent, identity: Identity) -> None:
        match message.WhichOneof("message"):
            case "assignment":
                self._host.assigned(assignment_from_wire(message.assignment, identity.server_id))
                self._outbox.report_due()  # the accepted generation
            case "log_request":
                self._desk.requested(message.log_request)
            case "log_cancel":
                self._desk.cancelled(message.log_cancel.request_id)
            case "log_credit":
                self._desk.credited(message.log_credit.request_id, message.log_credit.lines)
            case "stats_request":
                self._stats.requested(message.stats_request)
            case "usage_request" if self._usage is not None:
                self._usage.requested(message.usage_request)
            case "upgrade":
                self._upgrades.requested(message.upgrade)
            case "clear_findings":
                self._host.clear_findings(tuple(message.clear_findings.gpu_uuids))
            case _:
                pass  # a newer server's message: not ours to judge

    async def _outgoing(self, outbox: Outbox, is_welcome: asyncio.Event) -> AsyncIterator[agent_pb2.FromAgent]:
        told = self._host.facts()
        hello = agent_pb2.Hello(
            protocol=PROTOCOL,
            agent_version=self._software.version,
            build=self._software.build,
            boot_id=self._boot_id,
            facts=facts_to_wire(told),
        )
        yield agent_pb2.FromAgent(hello=hello)
        await is_welcome.wait()
        # A report before the containers are known would say that there are none.
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._host.settled()
        except TimeoutError:
            pass
        outbox.report_due()
        last_report_s = time.monotonic()
        found: agent_pb2.Findings | None = None
        is_first = True
        while True:
            message = await outbox.take(max(0.0, last_report_s + self._report_interval_s - time.monotonic()))
            if message is Due.REPORT:
                facts, findings = self._host.facts(), findings_to_wire(self._host.findings())
                news = None if facts == told else facts_to_wire(facts)
                report = self._report(news, None if findings == found else findings)
                told, found, last_report_s = facts, findings, time.monotonic()
                yield agent_pb2.FromAgent(report=report)
            elif message is Due.TELEMETRY:
                readings, is_first = self._host.news(anew=is_first), False
                if readings is not None:
                    yield telemetry_to_wire(readings)
            else:
                yield message

    def _report(self, facts: host_pb2.HostFacts | None, findings: agent_pb2.Findings | None) -> agent_pb2.Report:
        self._sequence += 1
        gateways = [gateway_to_wire(it) for it in self._host.gateways()]
        door, edge = self._host.door(), self._host.edge()
        return agent_pb2.Report(
            boot_id=self._boot_id,
            sequence=self._sequence,
            accepted_generation=self._host.accepted_generation(),
            replicas=[replica_to_wire(it) for it in self._host.replicas()],
            facts=facts,
            findings=findings,
            gateways=gateways,
            gateway=gateways[0] if gateways else None,  # for a server that knows one a host only
            door=door_to_wire(door) if door is not None else None,
            reached=[agent_pb2.Reached(host_id=it.host_id, error=it.error) for it in self._host.reached()],
            edge=edge_to_wire(edge) if edge is not None else None,
        )
