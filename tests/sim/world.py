"""A whole fleet on a virtual clock: one server that may be killed at any moment, machines with agents, a gateway, users.

Holds the parts together and keeps the story and what went wrong. Does not say which faults strike (faults), what users do
(stories), nor what must always be true (invariants).
"""

import asyncio
import logging
import random
import sys
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from homeport_control.api.auth import Caller
from homeport_control.domain.gateway import LOCAL
from homeport_control.domain.hosts import Connection, Host, HostFacts
from homeport_control.store import gateways, hosts, meta
from homeport_control.trust.ca import CertificateAuthority, serial_of
from homeport_control.trust.sealing import Sealer

from sim import clock, machine
from sim.clock import Process, Skew
from sim.database import Folder, Power, open_inline
from sim.envoy import Envoy, Held
from sim.machine import Machine
from sim.network import Network, Peer, spawn
from sim.server import SERVER_ID, Server, Trust

ANN = Caller("ann", "admin")
LOUD = frozenset({"error", "critical", "exception"})
RESTART_S = (0.3, 4.0)  # until a killed server is there again


class Wrong(Exception):
    """The world is not as it must be."""


@dataclass
class Acknowledged:
    """What a user was told is so (invariant 9)."""

    revisions: set[tuple[str, int]] = field(default_factory=set)  # run id, number
    stopped: set[str] = field(default_factory=set)  # run ids
    cordoned: dict[str, bool] = field(default_factory=dict)  # by host id; absent: nobody can tell


class World:
    """One seed's world. `trust` and `folder` are shared by all worlds of this process, one after the other."""

    def __init__(self, seed: int, trust: Trust, folder: Folder, *, print_story: bool = False) -> None:
        self.seed, self.trust, self.folder = seed, trust, folder
        self.rng = random.Random(f"world {seed}")  # noqa: S311
        self.network = Network(random.Random(f"network {seed}"))  # noqa: S311
        self._database_rng = random.Random(f"database {seed}")  # noqa: S311
        self.story: list[str] = []
        self.wrong: list[str] = []
        self.acked = Acknowledged()
        self.machines: dict[str, Machine] = {}  # by host id
        self.faulted_at_s: dict[str, float] = {}  # by machine: when a fault was last about it
        self.server: Server | None = None
        self.server_skew = Skew()
        self.servers = 0
        self.is_skewed = False  # a clock has jumped in this world
        self.stopping: Callable[[str], None] = lambda replica_id: (
            None
        )  # a container is about to be stopped by its agent
        self.kill_in: int | None = None  # statements until the server is killed
        self.file = folder.fresh()
        self._print = print_story
        self._stays_down = False

    # --- the story ---

    def tell(self, who: str, text: str) -> None:
        line = f"{clock.current.now_s:9.3f}  {who:<12} {text}"
        self.story.append(line)
        if self._print:
            print(line, flush=True)

    def fail(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)
            self.tell("WRONG", what)

    # --- its beginning ---

    async def prepare(self, count: int) -> None:
        """A server's database with so many hosts; the gateway is on the first."""
        database = open_inline(self.file, Power(lambda when, sql: False))
        async with database.write() as write:
            await meta.put_once(write, "server_id", SERVER_ID)
        async with database.write() as write:
            await gateways.put_own(write, _own_gateway(self.trust))
        for number in range(1, count + 1):
            await self.join(database, f"h{number}", f"10.0.0.{number}", gpus=self.rng.choice((0, 1, 2)))
        await database.close()

    async def join(self, database: Any, name: str, address: str, *, gpus: int) -> None:
        host_id = f"id-{name}"
        peer = Peer(host_id, _certificate(self.trust.ca, host_id))
        certificate = x509.load_pem_x509_certificate(peer.certificate_pem)
        host = Host(
            id=host_id, name=name, fleet="local", region="remote", backend="agent", address=address,
            connection=Connection.UNREACHABLE, connection_reason="joined, has not connected yet",
            connection_since_s=clock.current.wall_s(), cordoned=False, facts=HostFacts(hostname=name),
            created_at_s=clock.current.wall_s(), serials=(serial_of(certificate),),
        )  # fmt: skip
        async with database.write(actor=f"host {name}") as write:
            await hosts.insert(write, host)
            await gateways.host_came(write, host, is_local=name == "h1")
        rng = random.Random(f"{name} {self.seed}")  # noqa: S311
        made = Machine(
            name, host_id, address, self.network, rng, SERVER_ID, peer, self.tell,
            gpus=gpus, dial_host=self._dial, serves=self.serves,
        )  # fmt: skip
        made.engine.stopping = lambda replica_id, _: self.stopping(replica_id)
        self.machines[host_id] = machine.machines[host_id] = made

    def _dial(self, host_id: str) -> str:
        there = self.machines.get(host_id)
        return "" if there is not None and there.is_up else "no route to host"

    # --- the server ---

    def start_server(self) -> None:
        self._stays_down = False
        self.servers += 1
        owner = Process(f"server {self.servers}", skew=self.server_skew)
        self.server = Server(self.trust, self.file, Power(self._strikes, self._pause_s), self.network, owner)
        task = spawn(owner, self.server.run())
        task.add_done_callback(lambda it: self._server_ended(owner, it))
        self.tell("server", f"starts ({self.servers})")

    def _server_ended(self, owner: Process, task: "asyncio.Task[Any]") -> None:
        if not owner.is_dead and not task.cancelled() and task.exception() is not None:
            self.fail(f"the server ended by itself: {leaves(task.exception())}")

    def _strikes(self, when: str, sql: str) -> bool:
        if self.kill_in is None:
            return False
        self.kill_in -= 1
        if self.kill_in > 0:
            return False
        self.kill_in = None
        self.tell("fault", f"KillServer {when} {' '.join(sql.split())[:70]}")
        asyncio.get_running_loop().call_soon(self.kill_server)
        return True

    def _pause_s(self) -> float:
        """Most statements are done at once; now and then others get in between."""
        return self._database_rng.uniform(0.0, 0.004) if self._database_rng.random() < 0.2 else 0.0

    def kill_server(self, *, for_s: float | None = None) -> None:
        server = self.server
        if server is None:
            return
        self.server = None
        self.network.listener = None
        server.power.cut()
        server.owner.kill()
        for link in self.network.links.values():
            for stream in list(link.streams):
                stream.server_gone(server.owner)
        after_s = self.rng.uniform(*RESTART_S) if for_s is None else for_s
        asyncio.get_running_loop().call_later(after_s, self.start_server)

    async def call(self, what: Callable[[Server], Coroutine[Any, Any, Any]]) -> Any:
        """A user's call. Raises ConnectionError when the server went away meanwhile: what came of it is not known."""
        server = self.server
        if server is None or not server.is_serving.is_set():
            raise ConnectionError("the server is not there")
        task = spawn(server.owner, what(server))
        await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionError("the server went away")
        return task.result()

    # --- machines ---

    def start_machines(self) -> None:
        for it in self.machines.values():
            it.start_agent()

    def envoys(self) -> list[Envoy]:
        return [envoy for it in self.machines.values() for envoy in it.envoys.values()]

    def serves(self, held: Held) -> bool:
        """Whether a request to this endpoint is answered now."""
        for it in self.machines.values():
            for container in it.engine.containers.values():
                if container.shown.replica_id == held.replica_id and container.shown.is_running:
                    return it.is_up and container.shown.host_port == held.port and it.engine.listens(container.shown.ip)
        return False

    def end(self) -> None:
        """Everybody ends at once."""
        if self.server is not None:
            self.server.power.cut()
            self.server.owner.kill()
        for it in self.machines.values():
            it.power_off()

    def close(self) -> None:
        machine.machines.clear()


def _own_gateway(trust: Trust) -> Any:
    from homeport_control.leading import own_gateway
    from homeport_control.settings import ServerSettings

    return own_gateway(ServerSettings(state_dir=trust.directory))


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


_certificates: dict[str, bytes] = {}


def _certificate(ca: CertificateAuthority, host_id: str) -> bytes:
    if host_id not in _certificates:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.sign(_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        _certificates[host_id] = ca.sign_host(request, host_id).encode()
    return _certificates[host_id]


def make_trust(directory: Path) -> Trust:
    return Trust(
        directory,
        CertificateAuthority.load_or_create(directory, SERVER_ID),
        Sealer.load_or_create(directory / "secret.key"),
    )


def leaves(error: BaseException | None) -> str:
    """What an exception says, with where it came from."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(leaves(it) for it in error.exceptions)
    traceback = error.__traceback__ if error else None
    place = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return f"{type(error).__name__}: {error} at {place}"


class Log:
    """The server's own log, into the story. What it calls an error is looked at by `is_expected`."""

    def __init__(self) -> None:
        self.world: World | None = None

    def __call__(self, logger: Any, level: str, entry: Any) -> str:
        world = self.world
        owner = clock.process.get()
        if world is not None and not owner.is_dead:
            error = entry.pop("exc_info", None)
            text = f"{entry.pop('event')} {' '.join(f'{key}={value}' for key, value in entry.items())}"
            if level in LOUD and error:
                raised = sys.exc_info()[1]
                world.fail(f"{owner.name} logs an error: {text}: {leaves(raised)}")
            else:
                world.tell("log", text)
        raise structlog.DropEvent


log = Log()


class _AgentLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        owner = clock.process.get()
        if log.world is not None and not owner.is_dead:
            log.world.tell(owner.name, record.getMessage())


def install_log() -> None:
    warnings.simplefilter("ignore")  # a killed server closes no connections
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    logging.getLogger("homeport.agent").addHandler(_AgentLog())
    logging.getLogger("homeport.agent").propagate = False
    logging.getLogger("homeport.agent").setLevel(logging.INFO)
    structlog.configure(processors=[log], cache_logger_on_first_use=False)


__all__ = ["ANN", "LOCAL", "World", "Wrong", "install_log", "leaves", "log", "make_trust"]
