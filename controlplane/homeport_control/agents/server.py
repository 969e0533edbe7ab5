"""The agents' stream: authenticate, read reports, push assignments. A broken stream marks its host at once.

Covers the wire of AgentLink. What a report means is store's and the loops'; what is pushed is made by assignments.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.common.v1 import code_pb2
from homeport_protos.versions import MIN_AGENT_PROTOCOL, PROTOCOL

from homeport_control.agents.assignments import Assignments
from homeport_control.agents.code import CodeOut
from homeport_control.agents.convert import facts_from
from homeport_control.agents.copies import Copies, Verdict
from homeport_control.agents.peers import code_of, must_be_good, peer_certificate, peer_host_id
from homeport_control.agents.reports import take_report
from homeport_control.agents.sessions import AgentSession, Sessions
from homeport_control.agents.telemetry import Telemetry
from homeport_control.agents.usage import UsageIn
from homeport_control.domain.errors import Denied, HomeportError, NotLeading, NotReady
from homeport_control.domain.hosts import Connection
from homeport_control.store import fleets, hosts
from homeport_control.store.connect import Database
from homeport_control.trust.ca import CertificateAuthority, serial_of

HELLO_TIMEOUT_S = 10.0
RESYNC_S = 15.0  # the net under a missed topic; a push never waits for it
CLOSE_BACKOFF_S = 0.1
MAX_CLOSE_BACKOFF_S = 5.0
Context = grpc.aio.ServicerContext[agent_pb2.FromAgent, agent_pb2.ToAgent]
log = structlog.get_logger()


COPY_NOTICE = "another machine speaks with its identity, a copy of its disk: that one is refused from now on"


class RemovedHost(Denied):
    """An admin removed it; it is told so in its session."""


class Silent(Exception):
    """An agent has not been heard for the allowed time."""


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
        self._actors: dict[str, str] = {}  # by host id: how a host stands in the events of what it reports
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
            await context.abort(code_of(error), str(error))
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
            await context.abort(code_of(error), str(error))

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
            await context.abort(code_of(error), str(error))

    async def Session(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.FromAgent], context: Context
    ) -> None:
        try:
            host_id = await self._known_host(context)
            hello = await self._hello(request_iterator)
            is_first_of_two = self._is_first_of_two(host_id, hello.boot_id)
        except RemovedHost:
            await context.write(agent_pb2.ToAgent(removed=agent_pb2.Removed()))
            return
        except HomeportError as error:
            await context.abort(code_of(error), str(error))
        session = self._sessions.open(host_id, hello.protocol)
        reason, silent_s = "the agent closed its session", 0.0
        try:
            await self._opened(host_id, hello, COPY_NOTICE if is_first_of_two else "")
            welcome = agent_pb2.Welcome(
                protocol=PROTOCOL,
                server_id=self._server_id,
                report_interval_s=self._report_interval_s,
                at_s=time.time(),
                notice=COPY_NOTICE if is_first_of_two else "",
            )
            await context.write(agent_pb2.ToAgent(welcome=welcome))
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(session, hello.boot_id, request_iterator))
                others = [
                    group.create_task(self._write(session, context)),
                    group.create_task(self._assign(session)),
                    group.create_task(self._replaced(session)),
                    group.create_task(self._usage.run(session)),
                ]
                await reading
                for task in others:
                    task.cancel()
        except* Silent:
            reason, silent_s = f"silent for {self._silence_s:.0f} s", self._silence_s
        except* Replaced:
            reason = "a newer session took over"
        except* (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            reason = "the connection broke"
        except* HomeportError as failed:  # the agent comes back by itself
            reason = f"the server ended the session: {failed.exceptions[0]}"
        finally:
            await asyncio.shield(self._closed(session, reason, time.time() - silent_s))

    async def _known_host(self, context: "grpc.aio.ServicerContext[Any, Any]") -> str:
        host_id = peer_host_id(context)
        async with self._database.read() as connection:
            host = await hosts.get(connection, host_id)
            if host is None:
                if await hosts.was_removed(connection, host_id):
                    raise RemovedHost("this host was removed from the fleet; join again to come back")
                raise Denied("this host is not part of the fleet any more; join again")
            if host.connection is Connection.RELEASED and await fleets.is_going(connection, host_id):
                raise NotReady("this host is being released: its agent is about to be stopped")
        must_be_good(host, peer_certificate(context))
        return host_id

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
        return message.hello

    async def _opened(self, host_id: str, hello: agent_pb2.Hello, notice: str) -> None:
        async with self._database.write() as write:
            host = await hosts.get(write.connection, host_id)
            write.actor = self._actors[host_id] = f"host {host.name if host else host_id}"
            await hosts.accept_report(write, host_id, hello.boot_id, -1, new_session=True)
            await hosts.update(
                write,
                host_id,
                {
                    "connection": Connection.CONNECTED,
                    "connection_reason": "",
                    "connection_since_s": time.time(),
                    "facts": facts_from(hello.facts),
                    "build": hello.build[:64],
                },
            )
            if host is not None and notice:
                hosts.tell(write, host, f"host {host.name}: {notice}")
        log.info("an agent connected", host=host_id, version=hello.agent_version)

    async def _closed(self, session: AgentSession, reason: str, heard_at_s: float) -> None:
        if not self._sessions.close(session):
            return
        self._telemetry.forget(session.host_id)
        values = {
            "connection": Connection.UNREACHABLE,
            "connection_reason": reason,
            "connection_since_s": heard_at_s,  # lost_after counts from the last sign of life, not from noticing
        }
        log.warning("an agent is away", host=session.host_id, reason=reason)
        try:
            await self._write_away(session.host_id, values)
        except NotLeading:
            return  # who leads now knows which hosts it has heard
        except NotReady:  # a host that stays "connected" without a session would never be lost
            if session.host_id not in self._late:
                task = asyncio.create_task(self._write_away_later(session.host_id, values))
                self._late[session.host_id] = task
                task.add_done_callback(lambda _: self._late.pop(session.host_id))

    async def _write_away(self, host_id: str, values: Mapping[str, Any]) -> None:
        async with self._database.write() as write:
            if self._sessions.is_connected(host_id):  # a newer session's word stands
                return
            host = await hosts.get(write.connection, host_id)
            if host is not None and host.connection is not Connection.RELEASED:  # its agent was stopped by us
                await hosts.update(write, host_id, values)

    async def _write_away_later(self, host_id: str, values: Mapping[str, Any]) -> None:
        """Until it is written. While the database is away nobody can be heard, which is no host's fault: what it may be
        silent counts from when it could be heard again, or all of them would be lost at that moment."""
        backoff_s = CLOSE_BACKOFF_S
        while True:
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_CLOSE_BACKOFF_S)
            try:
                await self._write_away(host_id, {**values, "connection_since_s": time.time()})
                return
            except NotLeading:
                return
            except NotReady as error:
                log.error("that an agent is away cannot be written", host=host_id, because=str(error))

    async def _read(self, session: AgentSession, boot_id: str, messages: AsyncIterator[agent_pb2.FromAgent]) -> None:
        is_first = True
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    message = await anext(messages)
            except TimeoutError:
                raise Silent from None
            except StopAsyncIteration:
                return
            match message.WhichOneof("message"):
                case "report":
                    await self._report(session.host_id, boot_id, message.report, is_first=is_first)
                    is_first = False
                case "log_lines":
                    session.log_lines(message.log_lines)
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

    async def _not_upgraded(self, host_id: str, result: agent_pb2.UpgradeResult) -> None:
        async with self._database.write(actor=self._actors[host_id]) as write:
            await hosts.update(write, host_id, {"upgrade_error": f"{result.build}: {result.error}"[:1000]})

    async def _report(self, host_id: str, boot_id: str, report: agent_pb2.Report, *, is_first: bool) -> None:
        if report.boot_id != boot_id:
            return
        await take_report(self._database, host_id, self._actors[host_id], report, is_first=is_first)

    async def _write(self, session: AgentSession, context: Context) -> None:
        while True:
            await context.write(await session.outgoing.get())

    async def _assign(self, session: AgentSession) -> None:
        """Push the host's whole assignment now, and anew whenever its content has changed."""
        with self._database.changes.subscribe(f"host:{session.host_id}") as subscription:
            sent: agent_pb2.Assignment | None = None
            while True:
                assignment = await self._assignments.of_host(session.host_id)
                if assignment != sent:
                    sent = assignment
                    async with self._database.write() as write:
                        generation = await hosts.next_generation(write, session.host_id)
                    message = agent_pb2.ToAgent(assignment=assignment)
                    message.assignment.generation = generation
                    await session.outgoing.put(message)
                await subscription.wait(RESYNC_S)

    @staticmethod
    async def _replaced(session: AgentSession) -> None:
        await session.replaced.wait()
        raise Replaced
