"""A control plane in memory, on real sockets with real TLS: enrollment, the CA's page, the agents' stream.

Covers what an agent meets. Steered by tests: what it answers to a join, what it pushes on a session, when it dies.
"""

import asyncio
import datetime
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from homeport_agent.identity import ca_sha256
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.code import CHUNK_BYTES
from homeport_protos.common.v1.code_pb2 import CodeManifest
from rig.gateway import Authority

SERVER_ID = "server-1"


@dataclass
class Session:
    """One agent's session, as the server sees it."""

    to_agent: "asyncio.Queue[agent_pb2.ToAgent | None]" = field(default_factory=asyncio.Queue)
    from_agent: "asyncio.Queue[agent_pb2.FromAgent]" = field(default_factory=asyncio.Queue)

    async def next(self, kind: str) -> Any:
        """The next message of this kind; others are passed over."""
        async with asyncio.timeout(10):
            while True:
                message = await self.from_agent.get()
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)

    def push(self, **message: Any) -> None:
        self.to_agent.put_nowait(agent_pb2.ToAgent(**message))

    def end(self) -> None:
        self.to_agent.put_nowait(None)


class FakeControl(agent_pb2_grpc.EnrollmentServicer, agent_pb2_grpc.AgentLinkServicer):
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = Authority(folder)
        self.api_port = self.link_port = self.web_port = 0
        self.joins: list[agent_pb2.JoinRequest] = []
        self.recovered: list[agent_pb2.RecoverRequest] = []
        self.refuses_recovery = ""
        self.refuses = ""  # the sentence with which a join is refused
        self.lifetime_s = 86400.0
        self.server_id = SERVER_ID
        self.report_interval_s = 0.05
        self.telemetry_interval_s = 0.0
        self.clock_ahead_s = 3600.0
        self.is_removed = False  # it tells hosts that they are not of its fleet any more
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.manifests: dict[str, CodeManifest] = {}  # by the id under which they are given out
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []  # contents, in the order in which they were asked for
        self.breaks_after: int | None = None  # chunks of contents; then the server goes away, once
        self.tampered: Callable[[agent_pb2.ContentChunk], Iterable[agent_pb2.ContentChunk]] = lambda chunk: [chunk]
        self._folder = folder
        self._servers: list[grpc.aio.Server] = []

    @property
    def ca_pem(self) -> str:
        return self.authority.pem().decode()

    @property
    def token(self) -> str:
        return f"hpj_{ca_sha256(self.ca_pem)}_secretsecret"

    async def session(self) -> Session:
        async with asyncio.timeout(10):
            return await self.sessions.get()

    async def Join(self, request: agent_pb2.JoinRequest, context: Any) -> agent_pb2.JoinResponse:  # type: ignore[override]
        self.joins.append(request)
        if self.refuses:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, self.refuses)
        return self._signed(request.csr_pem)

    async def Renew(self, request: agent_pb2.RenewRequest, context: Any) -> agent_pb2.JoinResponse:  # type: ignore[override]
        return self._signed(request.csr_pem)

    async def Challenge(self, request: agent_pb2.ChallengeRequest, context: Any) -> agent_pb2.ChallengeResponse:
        return agent_pb2.ChallengeResponse(challenge="prove it")

    async def Recover(self, request: agent_pb2.RecoverRequest, context: Any) -> agent_pb2.JoinResponse:  # type: ignore[override]
        """What the real one asks for: tests/unit/control/agents/test_recovery.py, where the agent meets it."""
        self.recovered.append(request)
        if self.refuses_recovery:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, self.refuses_recovery)
        return self._signed(request.csr_pem)

    async def FetchManifest(self, request: agent_pb2.FetchManifestRequest, context: Any) -> CodeManifest:  # type: ignore[override]
        if request.code_id not in self.manifests:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{request.code_id[:12]} is not this host's")
        return self.manifests[request.code_id]

    async def FetchContents(self, request: agent_pb2.FetchContentsRequest, context: Any) -> None:  # type: ignore[override]
        for sha256 in request.sha256:
            self.asked.append(sha256)
            data = self.contents[sha256]
            for start in range(0, len(data) or 1, CHUNK_BYTES):
                if self.breaks_after is not None:
                    self.breaks_after -= 1
                    if self.breaks_after < 0:
                        self.breaks_after = None
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server ends")
                piece = data[start : start + CHUNK_BYTES]
                chunk = agent_pb2.ContentChunk(sha256=sha256, data=piece, last=start + len(piece) == len(data))
                for it in self.tampered(chunk):
                    await context.write(it)

    async def Session(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        if self.is_removed:
            await context.write(agent_pb2.ToAgent(removed=agent_pb2.Removed()))
            return
        session = Session()
        welcome = agent_pb2.Welcome(
            protocol=1,
            server_id=self.server_id,
            report_interval_s=self.report_interval_s,
            telemetry_interval_s=self.telemetry_interval_s,
            at_s=time.time() + self.clock_ahead_s,
        )
        session.from_agent.put_nowait(await anext(request_iterator))
        await context.write(agent_pb2.ToAgent(welcome=welcome))
        self.sessions.put_nowait(session)

        async def read() -> None:
            async for message in request_iterator:
                session.from_agent.put_nowait(message)

        reading = asyncio.ensure_future(read())
        try:
            while (message := await session.to_agent.get()) is not None:
                await context.write(message)
        finally:
            reading.cancel()

    async def start(self) -> None:
        """Listen; again on the same ports after `stop`."""
        key, certificate = self.authority.issue("server", "homeport-server")
        options = (("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 100))
        for is_mutual in (False, True):
            server = grpc.aio.server(options=options)
            credentials = grpc.ssl_server_credentials(
                [(key, certificate)], self.authority.pem() if is_mutual else None, require_client_auth=is_mutual
            )
            if is_mutual:
                agent_pb2_grpc.add_AgentLinkServicer_to_server(self, server)
                self.link_port = server.add_secure_port(f"127.0.0.1:{self.link_port}", credentials)
            else:
                agent_pb2_grpc.add_EnrollmentServicer_to_server(self, server)
                self.api_port = server.add_secure_port(f"127.0.0.1:{self.api_port}", credentials)
            await server.start()
            self._servers.append(server)

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(None)
        self._servers.clear()

    @asynccontextmanager
    async def web(self, body: bytes | None = None, status: str = "200 OK", tls: bool = True) -> AsyncIterator[int]:
        """The page of the CA, on a port of its own."""
        page = self.authority.pem() if body is None else body

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page)
            await writer.drain()
            writer.close()

        context: ssl.SSLContext | None = None
        if tls:
            key, certificate = self.authority.issue("web")
            (self._folder / "web.pem").write_bytes(key + certificate)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._folder / "web.pem")
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()

    def _signed(self, csr_pem: str) -> agent_pb2.JoinResponse:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host-1")]))
            .issuer_name(self.authority.name)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(seconds=self.lifetime_s))
            .sign(self.authority.key, hashes.SHA256())
        )
        return agent_pb2.JoinResponse(
            server_id=SERVER_ID,
            host_id="host-1",
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            ca_pem=self.ca_pem,
            link_port=self.link_port,
        )


@asynccontextmanager
async def fake_control(folder: Path) -> AsyncIterator[FakeControl]:
    control = FakeControl(folder)
    await control.start()
    try:
        async with control.web() as port:
            control.web_port = port
            yield control
    finally:
        await control.stop()
