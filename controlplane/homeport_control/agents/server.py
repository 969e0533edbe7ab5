"""The agents' stream: authenticate, read reports, push assignments. A broken stream marks its host at once.

Covers the wire of AgentLink. What a report means is store's and the loops'; what is pushed is made by assignments.py.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from typing import Any

import grpc
import structlog
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.common.v1 import code_pb2
from homeport_protos.text import one_line
from homeport_protos.versions import MIN_AGENT_PROTOCOL, PROTOCOL

from homeport_control.agents import bounds
from homeport_control.agents.arrivals import Arrivals
from homeport_control.agents.assignments import Assignments, Basis
from homeport_control.agents.code import CodeOut
from homeport_control.agents.convert import facts_from
from homeport_control.agents.copies import Copies, Verdict
from homeport_control.agents.fleet_size import FleetSize
from homeport_control.agents.heard import Heard, Inbox
from homeport_control.agents.peers import code_of, must_be_good, peer_certificate, peer_host_id
from homeport_control.agents.presence import (
    Generation,
    Leaving,
    Opening,
    write_generations,
    write_leavings,
    write_openings,
)
from homeport_control.agents.reports import Said, write_reports
from homeport_control.agents.sessions import AgentSession, Sessions
from homeport_control.agents.silence import Silence, Silent, beat_s
from homeport_control.agents.telemetry import Telemetry, interval_s
from homeport_control.agents.usage import UsageIn
from homeport_control.domain.errors import BadRequest, Denied, HomeportError, NotLeading, NotReady
from homeport_control.domain.hosts import Connection, Host
from homeport_control.store import fleets, hosts
from homeport_control.store.batches import Batches
from homeport_control.store.connect import Database, Write
from homeport_control.store.loader import Loader
from homeport_control.trust.ca import CertificateAuthority, serial_of
from homeport_control.trust.pace import Crowd, Pace

HELLO_TIMEOUT_S = 10.0
RESYNC_S = 30.0  # the net under a missed topic, in a large fleet longer; a push never waits for it
CLOSE_BACKOFF_S = 0.1
MAX_CLOSE_BACKOFF_S = 5.0
MOST_SESSIONS = 8  # of one host: an old one that nobody has noticed yet, a copy of its disk
Context = grpc.aio.ServicerContext[agent_pb2.FromAgent, agent_pb2.ToAgent]
log = structlog.get_logger()


COPY_NOTICE = "another machine speaks with its identity, a copy of its disk: that one is refused from now on"


class RemovedHost(Denied):
    """An admin removed it; it is told so in its session."""


class Replaced(Exception):
    """A newer session of the same host took over."""


class LinkServicer(agent_pb2_grpc.AgentLinkServicer):
    def __init__(
        self,
        database: Database,
        ca: CertificateAuthority,
        sessions: Sessions,
        assignments: Assignments,
        server_id: str,
        report_interval_s: float,
        silence_s: float,
        code: CodeOut,
        telemetry: Telemetry,
        usage: UsageIn,
    ) -> None:
        self._usage = usage
        self._database = database
        self._ca = ca
        self._sessions = sessions
        self._assignments = assignments
        self._server_id = server_id
        self._report_interval_s = report_interval_s
        self._silence_s = silence_s
        self._code = code
        self._telemetry = telemetry
        self._copies = Copies()
        self._fleet_size = FleetSize(database)
        self._reports = Batches(database, self._write_reports)
        self._arrivals = Arrivals()
        self._hosts = Loader(self._read_hosts)
        self._openings = Batches(database, write_openings)
        self._generations = Batches(database, write_generations)
        self._leavings = Batches(database, self._write_leavings)
        self._doubted: set[str] = set()  # hosts whose next report is written though it says nothing new
        self._actors: dict[str, str] = {}  # by host id: how a host stands in the events of what it reports
        self._crowd = Crowd(MOST_SESSIONS, "sessions")  # those before their hello too
        self._late: dict[str, asyncio.Task[None]] = {}  # by host id: what the database could not be told yet

    async def Renew(  # type: ignore[override]
        self,
        request: agent_pb2.RenewRequest,
        context: grpc.aio.ServicerContext[agent_pb2.RenewRequest, agent_pb2.JoinResponse],
    ) -> agent_pb2.JoinResponse:
        try:
            host_id = await self._known_host(context)
            certificate = self._ca.sign_host(request.csr_pem, host_id)
            shown = serial_of(peer_certificate(context))
            async with self._database.write() as write:
                await hosts.certified(write, host_id, serial_of(certificate), shown)
        except HomeportError as error:
            await context.abort(code_of(error), one_line(str(error)))
        return agent_pb2.JoinResponse(
            server_id=self._server_id, host_id=host_id, certificate_pem=certificate, ca_pem=self._ca.pem.decode()
        )

    async def FetchManifest(  # type: ignore[override]
        self,
        request: agent_pb2.FetchManifestRequest,
        context: grpc.aio.ServicerContext[agent_pb2.FetchManifestRequest, code_pb2.CodeManifest],
    ) -> code_pb2.CodeManifest:
        try:
            return await self._code.manifest(await self._known_host(context), request.code_id)
        except HomeportError as error:
            await context.abort(code_of(error), one_line(str(error)))

    async def FetchContents(  # type: ignore[override]
        self,
        request: agent_pb2.FetchContentsRequest,
        context: grpc.aio.ServicerContext[agent_pb2.FetchContentsRequest, agent_pb2.ContentChunk],
    ) -> AsyncIterator[agent_pb2.ContentChunk]:
        try:
            async with aclosing(self._code.contents(await self._known_host(context), request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except HomeportError as error:
            await context.abort(code_of(error), one_line(str(error)))

    async def Session(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.FromAgent], context: Context
    ) -> None:
        try:
            with self._crowd.one_more(peer_host_id(context)):
                hello = await self._hello(request_iterator)
                async with AsyncExitStack() as arriving:
                    await arriving.enter_async_context(self._arrivals.coming())
                    host_id = await self._known_host(context)
                    notice = COPY_NOTICE if self._is_first_of_two(host_id, hello.boot_id) else ""
                    await self._session(host_id, hello, request_iterator, context, notice, arriving.aclose)
        except RemovedHost:
            with suppress(grpc.aio.InternalError):  # it hung up meanwhile
                await context.write(agent_pb2.ToAgent(removed=agent_pb2.Removed()))
        except HomeportError as error:
            await context.abort(code_of(error), one_line(str(error)))

    async def _session(
        self,
        host_id: str,
        hello: agent_pb2.Hello,
        request_iterator: AsyncIterator[agent_pb2.FromAgent],
        context: Context,
        notice: str,
        arrived: Callable[[], Awaitable[None]],
    ) -> None:
        """From the hello to its end, whatever ends it. `arrived` is called when it is welcome."""
        session = self._sessions.open(host_id, hello.protocol)
        reason, silent_s, is_ours = "the agent closed its session", 0.0, False
        silence_s = self._silence_s
        try:
            await self._opened(host_id, hello, notice)
            count = await self._fleet_size.now()
            report_interval_s = beat_s(self._report_interval_s, count)
            silence_s *= report_interval_s / self._report_interval_s
            welcome = agent_pb2.Welcome(
                protocol=PROTOCOL,
                server_id=self._server_id,
                report_interval_s=report_interval_s,
                at_s=time.time(),
                notice=notice,
                telemetry_interval_s=interval_s(count),
            )
            await context.write(agent_pb2.ToAgent(welcome=welcome))
            await arrived()
            inbox, silence = Inbox(), Silence(silence_s)
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(session, hello.boot_id, request_iterator, inbox, silence))
                others = [
                    group.create_task(silence.run()),
                    group.create_task(self._take_reports(host_id, inbox)),
                    group.create_task(self._write(session, context)),
                    group.create_task(self._assign(session)),
                    group.create_task(self._replaced(session)),
                    group.create_task(self._usage.run(session)),
                ]
                await reading
                for task in others:
                    task.cancel()
        except* Silent:
            reason, silent_s = f"silent for {silence_s:.0f} s", silence_s
        except* Replaced:
            reason = "a newer session took over"
        except* (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError):
            reason = "the connection broke"
        except* HomeportError as failed:  # the agent comes back by itself
            reason, is_ours = one_line(f"the server ended the session: {failed.exceptions[0]}"), True
        except* Exception:  # a bug of ours, that one host met: the others go on
            log.exception("a session failed", host=host_id)
            reason = "the server failed at what its agent said; the server's log says at what"
        finally:
            await asyncio.shield(self._closed(session, reason, None if is_ours else time.time() - silent_s))

    async def _known_host(self, context: "grpc.aio.ServicerContext[Any, Any]") -> str:
        host_id = peer_host_id(context)
        host = (await self._hosts.load([host_id])).get(host_id)
        if host is None:
            raise await self._unknown(host_id)
        if host.connection is Connection.RELEASED and await self._is_going(host_id):
            raise NotReady("this host is being released: its agent is about to be stopped")
        must_be_good(host, peer_certificate(context))
        self._actors[host_id] = f"host {host.name}"
        return host_id

    async def _read_hosts(self, host_ids: Sequence[str]) -> dict[str, Host]:
        async with self._database.read() as connection:
            return await hosts.by_id_without_facts(connection, host_ids)

    async def _unknown(self, host_id: str) -> Denied:
        async with self._database.read() as connection:
            if await hosts.was_removed(connection, host_id):
                return RemovedHost("this host was removed from the fleet; join again to come back")
        return Denied("this host is not part of the fleet any more; join again")

    async def _is_going(self, host_id: str) -> bool:
        async with self._database.read() as connection:
            return await fleets.is_going(connection, host_id)

    def _is_first_of_two(self, host_id: str, boot_id: str) -> bool:
        """Raises Denied for the second one."""
        verdict = self._copies.heard(host_id, boot_id)
        if verdict is Verdict.COPY:
            raise Denied(
                "another machine speaks with this host's identity, and was there first: this one is a copy of its disk; "
                "remove the folder `identity` in the agent's state directory here, and join with a new token"
            )
        return verdict is Verdict.FIRST

    async def _hello(self, messages: AsyncIterator[agent_pb2.FromAgent]) -> agent_pb2.Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                message = await anext(messages)
        except (TimeoutError, StopAsyncIteration):
            raise Denied("the session did not begin with a hello") from None
        if message.WhichOneof("message") != "hello":
            raise Denied("the session did not begin with a hello")
        if message.hello.protocol < MIN_AGENT_PROTOCOL:
            raise HomeportError(
                f"this agent speaks protocol {message.hello.protocol}, the server wants {MIN_AGENT_PROTOCOL} to "
                f"{PROTOCOL}; install the agent of the server's version"
            )
        if message.ByteSize() > bounds.MOST_MESSAGE_BYTES or len(message.hello.boot_id) > bounds.MOST_NAME:
            raise BadRequest(f"the hello has {message.ByteSize()} bytes, that is no agent's")
        return message.hello

    async def _opened(self, host_id: str, hello: agent_pb2.Hello, notice: str) -> None:
        facts, build = facts_from(hello.facts), one_line(hello.build, 64)
        await self._openings.add(Opening(host_id, self._actors[host_id], hello.boot_id, facts, build, notice))
        log.info("an agent connected", host=host_id, version=bounds.name(hello.agent_version))

    async def _closed(self, session: AgentSession, reason: str, heard_at_s: float | None) -> None:
        """`heard_at_s`: lost_after counts from the last sign of life; None: from when it can be written, for it is not the
        host that fell silent but this server that could not listen."""
        if not self._sessions.close(session):
            return
        self._telemetry.forget(session.host_id)
        log.warning("an agent is away", host=session.host_id, reason=reason)
        leaving = Leaving(session.host_id, reason, heard_at_s)
        try:
            await self._leavings.add(leaving)
        except NotLeading:
            return  # who leads now knows which hosts it has heard
        except NotReady:  # a host that stays "connected" without a session would never be lost
            if session.host_id not in self._late:
                task = asyncio.create_task(self._leave_later(leaving))
                self._late[session.host_id] = task
                task.add_done_callback(lambda _: self._late.pop(session.host_id))

    async def _write_leavings(self, write: Write, gone: Sequence[Leaving]) -> None:
        await write_leavings(write, gone, self._sessions.is_connected)

    async def _leave_later(self, leaving: Leaving) -> None:
        """Until it is written. While the database is away nobody can be heard, which is no host's fault: what it may be
        silent counts from when it could be heard again, or all of them would be lost at that moment."""
        backoff_s = CLOSE_BACKOFF_S
        while True:
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_CLOSE_BACKOFF_S)
            try:
                await self._leavings.add(replace(leaving, heard_at_s=None))
                return
            except NotLeading:
                return
            except NotReady as error:
                log.error("that an agent is away cannot be written", host=leaving.host_id, because=str(error))

    async def _read(
        self,
        session: AgentSession,
        boot_id: str,
        messages: AsyncIterator[agent_pb2.FromAgent],
        inbox: Inbox,
        silence: Silence,
    ) -> None:
        pace = Pace()
        while True:
            silence.waiting()
            try:
                message = await anext(messages)
            except StopAsyncIteration:
                silence.heard()
                await inbox.written()
                return
            silence.heard()
            kind = message.WhichOneof("message")
            if kind == "log_lines" and session.log_lines(message.log_lines):
                continue  # held back by the credit of who reads them
            if kind != "usage_batch" and message.ByteSize() > bounds.MOST_MESSAGE_BYTES:
                raise BadRequest(
                    f"its agent sent {message.ByteSize()} bytes at once, {bounds.MOST_MESSAGE_BYTES} are allowed"
                )
            if wait_s := pace.take(time.monotonic()):
                await asyncio.sleep(wait_s)
            match kind:
                case "hello":
                    raise BadRequest("its agent said hello twice")
                case "report":
                    self._accepted(session, message.report.accepted_generation)
                    if message.report.boot_id == boot_id:
                        inbox.put(message.report)
                case "log_end":
                    session.log_end(message.log_end)
                case "stats":
                    session.stats_answer(message.stats)
                case "usage_batch":
                    session.usage_batch(message.usage_batch)
                case "upgrade_result":
                    await self._not_upgraded(session.host_id, message.upgrade_result)
                case "telemetry":
                    if self._sessions.is_newest(session):
                        self._telemetry.take(session.host_id, message.telemetry)

    def _accepted(self, session: AgentSession, generation: int) -> None:
        session.accepted_generation = generation
        if session.is_ahead:
            self._database.changes.publish({f"host:{session.host_id}"})

    async def _not_upgraded(self, host_id: str, result: agent_pb2.UpgradeResult) -> None:
        async with self._database.write(actor=self._actors[host_id]) as write:
            await hosts.update(write, host_id, {"upgrade_error": one_line(f"{result.build}: {result.error}")})

    async def _write_reports(self, write: Write, said: Sequence[Said]) -> None:
        self._doubted |= await write_reports(write, said)

    async def _take_reports(self, host_id: str, inbox: Inbox) -> None:
        heard, is_first = Heard(self._sessions.rarer), True
        await self._arrivals.over()
        while True:
            report = await inbox.take()
            if not heard.is_known(report) or host_id in self._doubted:
                self._doubted.discard(host_id)
                await self._reports.add(Said(host_id, self._actors[host_id], report, is_first))
                heard.written(report)
                is_first = False

    async def _write(self, session: AgentSession, context: Context) -> None:
        while True:
            await context.write(await session.outgoing.get())

    async def _assign(self, session: AgentSession) -> None:
        """Push the host's whole assignment now, and anew whenever its content has changed."""
        await self._arrivals.over()
        with self._database.changes.subscribe(f"host:{session.host_id}") as subscription:
            sent: agent_pb2.Assignment | None = None
            seen: Basis | None = None
            while True:
                basis = await self._assignments.look(session.host_id)
                above = session.accepted_generation if session.is_ahead else 0
                if (basis != seen or above) and ((assignment := await self._assignments.made(basis)) != sent or above):
                    await self._generations.add(generation := Generation(session.host_id, above))
                    session.sent_generation = generation.number
                    message = agent_pb2.ToAgent(assignment=assignment)
                    message.assignment.generation = session.sent_generation
                    await session.outgoing.put(message)
                    sent = assignment
                seen = basis
                net_s = RESYNC_S * self._sessions.rarer()
                await subscription.wait(net_s * random.uniform(0.75, 1.25))  # noqa: S311 - not all at one moment

    @staticmethod
    async def _replaced(session: AgentSession) -> None:
        await session.replaced.wait()
        raise Replaced
