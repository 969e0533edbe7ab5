"""Joining: a token that is scoped to a fleet, once or until it expires, for a host's first certificate."""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.text import one_line
from homeport_protos.versions import MIN_AGENT_PROTOCOL, PROTOCOL

from homeport_control.agents.peers import code_of
from homeport_control.agents.recovery import Recovery
from homeport_control.domain.errors import BadRequest, Conflict, Denied, HomeportError
from homeport_control.domain.hosts import Connection, Host, HostFacts
from homeport_control.store import fleets, gateways, hosts, tokens
from homeport_control.store.connect import Database
from homeport_control.trust.ca import CertificateAuthority, serial_of
from homeport_control.trust.callers import caller_peer
from homeport_control.trust.guesses import Guesses, address_of
from homeport_control.trust.tokens import sha256_hex

LOCAL_ADDRESSES = ("127.0.0.1", "::1")  # who joins from there is on the server's own machine
MAX_LABELS = 32
MAX_HOSTS = 20_000  # of one server
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What a joining host gets to know of the server."""

    server_id: str
    link_port: int
    local_addresses: tuple[str, ...] = LOCAL_ADDRESSES


class EnrollmentServicer(agent_pb2_grpc.EnrollmentServicer):
    def __init__(self, database: Database, ca: CertificateAuthority, enrollment: Enrollment) -> None:
        self._database = database
        self._ca = ca
        self._enrollment = enrollment
        self._recovery = Recovery(database, ca)
        self._guesses = Guesses()

    async def Join(  # type: ignore[override]  # the stub's base class is written for sync and async servers at once
        self,
        request: agent_pb2.JoinRequest,
        context: grpc.aio.ServicerContext[agent_pb2.JoinRequest, agent_pb2.JoinResponse],
    ) -> agent_pb2.JoinResponse:
        try:
            return await self._join(request, address_of(caller_peer(context)))
        except HomeportError as error:
            await context.abort(code_of(error), one_line(str(error)))

    async def Challenge(self, request: agent_pb2.ChallengeRequest, context: object) -> agent_pb2.ChallengeResponse:
        return agent_pb2.ChallengeResponse(challenge=self._recovery.challenge(time.time()))

    async def Recover(  # type: ignore[override]
        self,
        request: agent_pb2.RecoverRequest,
        context: grpc.aio.ServicerContext[agent_pb2.RecoverRequest, agent_pb2.JoinResponse],
    ) -> agent_pb2.JoinResponse:
        address = address_of(context.peer())
        try:
            self._guesses.check(address, "", time.monotonic())
            host_id, certificate = await self._recovery.recover(request, time.time())
        except HomeportError as error:
            if isinstance(error, Denied | BadRequest):
                self._guesses.was_wrong(address, "", time.monotonic())
            await context.abort(code_of(error), one_line(str(error)))
        return agent_pb2.JoinResponse(
            server_id=self._enrollment.server_id,
            host_id=host_id,
            certificate_pem=certificate,
            ca_pem=self._ca.pem.decode(),
            link_port=self._enrollment.link_port,
        )

    async def _join(self, request: agent_pb2.JoinRequest, address: str) -> agent_pb2.JoinResponse:
        if request.protocol < MIN_AGENT_PROTOCOL:
            raise Conflict(
                f"this agent speaks protocol {request.protocol}, the server wants {MIN_AGENT_PROTOCOL} to {PROTOCOL}; "
                "install the agent of the server's version"
            )
        labels = _labels(request.labels)
        now_s = time.time()
        await self._must_be_known(sha256_hex(request.token), address, now_s)
        host_id = uuid.uuid4().hex
        certificate = self._ca.sign_host(request.csr_pem, host_id)
        async with self._database.write(actor=f"host {_host_name(request.hostname)}") as write:
            record = await tokens.by_hash(write.connection, sha256_hex(request.token))
            if record is None or record.role != "join":
                raise Denied("the join token is not known here; make a new one with `homeport fleet join-command`")
            why_not = record.why_not(now_s)
            if why_not or (record.one_use and not await tokens.revoke(write, record.id, now_s)):
                raise Denied(
                    f"the join token {why_not or 'was used already'}; make a new one with `homeport fleet join-command`"
                )
            fleet = await fleets.get(write.connection, record.fleet)
            if fleet is not None:
                labels = tuple(sorted({**dict(fleet.labels), **dict(labels)}.items()))
            if await hosts.count(write.connection) >= MAX_HOSTS:
                raise Conflict(f"this server has {MAX_HOSTS} hosts, more it does not take; remove some that are gone")
            name = await hosts.unused_name(write.connection, _host_name(request.hostname))
            write.actor = f"host {name}"
            host = Host(
                id=host_id,
                name=name,
                fleet=record.fleet,
                region=(fleet.region if fleet else "") or "remote",
                backend="agent",
                address=address,
                connection=Connection.UNREACHABLE,
                connection_reason="joined, has not connected yet",
                connection_since_s=now_s,
                cordoned=False,
                facts=HostFacts(hostname=_host_name(request.hostname)),
                created_at_s=now_s,
                labels=labels,
                serials=(serial_of(certificate),),
            )
            await hosts.insert(write, host)
            await gateways.host_came(write, host, is_local=address in self._enrollment.local_addresses)
        return agent_pb2.JoinResponse(
            server_id=self._enrollment.server_id,
            host_id=host_id,
            certificate_pem=certificate,
            ca_pem=self._ca.pem.decode(),
            link_port=self._enrollment.link_port,
        )

    async def _must_be_known(self, sha256: str, address: str, now_s: float) -> None:
        """Looked at before anything is signed or written. Raises Denied, TooManyGuesses."""
        self._guesses.check(address, sha256, time.monotonic())
        async with self._database.read() as connection:
            record = await tokens.by_hash(connection, sha256)
        if record is None or record.role != "join" or record.why_not(now_s):
            self._guesses.was_wrong(address, sha256, time.monotonic())
            why_not = record.why_not(now_s) if record is not None and record.role == "join" else "is not known here"
            raise Denied(f"the join token {why_not}; make a new one with `homeport fleet join-command`")
        self._guesses.was_good(sha256)


def _host_name(wanted: str) -> str:
    """What may stand in a table and in a line of an error."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-.")[:63] or "host"


def _labels(wanted: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Raises BadRequest for what could not stand in a configuration file."""
    if len(wanted) > MAX_LABELS:
        raise BadRequest(f"a host has at most {MAX_LABELS} labels, this one says {len(wanted)}")
    for key, value in wanted.items():
        if not (_LABEL.fullmatch(key) and _LABEL.fullmatch(value)):
            raise BadRequest(f"label {key[:63]!r} is no NAME=VALUE of up to 63 letters, digits, '.', '_' and '-' each")
    return tuple(sorted(wanted.items()))
