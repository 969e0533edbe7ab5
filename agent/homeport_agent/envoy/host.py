"""One gateway role of this host: its Envoy, wanted or not, and what is seen of it.

Covers installing, starting, adopting after a restart of the agent, restarting when what it is started with changed, and
saying in one line why it does not run. Does not cover routes or tokens: Envoy gets them from the server itself; nor how
many gateways this host is (gateways).

    no role ──role──> installing ──> starting ──> running ──(configuration changed)──> starting
       ^                 └──> failed: says why, tries again                │
       └──────────────────────── role withdrawn: stopped <─────────────────┘
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from homeport_agent.envoy import admin, install, limits, supervisor
from homeport_agent.envoy.bootstrap import ADMIN_SOCKET, Identity, Server, bootstrap, peers, secrets
from homeport_agent.envoy.standby import Standby
from homeport_agent.model import GatewayObserved, GatewayRole

RUN_FOLDER = "run"
DOOR_FOLDER = "door"  # see door
EDGE_FOLDER = "edge"  # see edge; a gateway's Envoy finds its sockets from its own folder by ../../edge
_LOOK_S = 2.0  # how often a running Envoy is looked at
_START_LOOK_S = 0.1  # and one that has just been started, for the first seconds
_HURRY_S = 10.0
_RETRY_S = 5.0  # after a failure: a port that is taken, a registry that cannot be reached
_SOCKET_PATH_MAX = 107  # sockaddr_un
_BIND_S = 10.0  # a listener that is not open this long after a start, while its port is free, needs a fresh Envoy


def envoy_dir(state_dir: Path) -> Path:
    return state_dir / "envoy"


def run_dir(state_dir: Path, gateway: str) -> Path:
    return envoy_dir(state_dir) / RUN_FOLDER / gateway


class EnvoyHost:
    """Keeps a gateway's Envoy as the newest role wants it. `apply` only notes the wish; `run` does the work."""

    def __init__(
        self,
        state_dir: Path,
        name: str,
        identity: Callable[[], Identity],
        server_host: Callable[[], str],
        on_change: Callable[[], None] = lambda: None,
        concurrency: int = 0,
        installing: asyncio.Lock | None = None,
    ) -> None:
        """`identity` and `server_host` are asked at each start, as both are known only after joining.

        `on_change` is called when `observed()` has changed. `concurrency`: Envoy's workers; 0: one per core.
        `installing`: held while the binary is installed; all Envoys of a host have one.
        """
        self._dir = envoy_dir(state_dir)
        self._run_dir = run_dir(state_dir, name)
        self._name = name
        self._installing = installing or asyncio.Lock()
        self._identity = identity
        self._server_host = server_host
        self._on_change = on_change
        self._arguments = ("--concurrency", str(concurrency)) if concurrency else ()
        self._role: GatewayRole | None = None
        self._known = False  # a role, or its absence, has been applied since this process started
        self._observed: GatewayObserved | None = None
        self._wake = asyncio.Event()
        self._has_role = asyncio.Event()
        self._hurry_until = 0.0
        self._standby = Standby(self._run_dir, name)

    async def apply(self, role: GatewayRole | None) -> None:
        """The role that this host has from now on; None: it is no gateway any more."""
        if self._known and role == self._role:
            return
        self._role, self._known = role, True
        if role is not None:
            self._has_role.set()
        self._wake.set()

    def observed(self) -> GatewayObserved | None:
        """What the server is told; None without a role."""
        return self._observed

    async def run(self) -> None:
        """Work until the role is withdrawn and Envoy has ended. Cancelling it leaves Envoy running, with its supervisor."""
        async with asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(self._stand_by())
            await self._keep_up()
            beside.cancel()

    async def _stand_by(self) -> None:
        """For the server, when it is away."""
        while (role := self._role) is None:
            await self._has_role.wait()
        await self._standby.run(self._identity, lambda: Server(self._server_host(), (self._role or role).xds_port))

    async def _keep_up(self) -> None:
        while True:
            wait_s = await self._turn() if self._known else None
            if self._known and self._role is None and wait_s is None:
                return
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _turn(self) -> float | None:
        """One turn towards the wish; seconds until the next, None for never."""
        role = self._role
        if role is None:
            await asyncio.to_thread(supervisor.stop, self._run_dir)
            self._say(None)
            return None
        try:
            message = await self._keep(role)
        except install.EnvoyUnavailable as error:  # one of before goes on
            runs = await asyncio.to_thread(supervisor.find, self._run_dir) is not None
            self._say(GatewayObserved(role.name, running=runs, message=str(error)))
            return _RETRY_S
        except OSError as error:
            self._say(GatewayObserved(role.name, running=False, message=str(error)))
            return _RETRY_S
        self._say(GatewayObserved(role.name, running=not message, message=message, envoy_version=install.VERSION))
        hurry = message and asyncio.get_running_loop().time() < self._hurry_until
        return _START_LOOK_S if hurry else _LOOK_S

    async def _keep(self, role: GatewayRole) -> str:
        """Empty when Envoy runs as wanted; else what it is still waiting for. Raises when it cannot run."""
        wanted = self._documents(role)
        if not (await asyncio.to_thread(supervisor.find, self._run_dir) and self._is_started_with(wanted)):
            await self._start(role, wanted)
        state = await asyncio.to_thread(admin.look, self._run_dir)
        if state is None:
            return "Envoy is starting"
        closed = [place for place in role.places if place not in state.listening]
        if not closed:
            return ""
        await self._must_be_free(closed)
        if state.uptime_s > _BIND_S and state.is_configured:
            # The port was taken when Envoy tried to open it and is free now: it tries only once per start.
            await asyncio.to_thread(supervisor.restart_envoy, self._run_dir)
        return "Envoy runs and waits for its configuration from the server"

    async def _start(self, role: GatewayRole, wanted: dict[str, str]) -> None:
        if len(str(self._run_dir / ADMIN_SOCKET)) > _SOCKET_PATH_MAX:
            raise OSError(f"{self._run_dir} is too long a path for a Unix socket; use a shorter state directory")
        if await asyncio.to_thread(supervisor.find, self._run_dir) is None:
            await self._must_be_free(role.places)
        # Before one that runs is ended: another version may be a long download, or not to be had.
        async with self._installing:
            binary = await asyncio.to_thread(install.install, self._dir, progress=self._progress(role))
        await asyncio.to_thread(supervisor.stop, self._run_dir)
        await self._must_be_free(role.places)
        self._write(wanted)
        await asyncio.to_thread(supervisor.start, binary, self._run_dir, self._arguments)
        self._hurry_until = asyncio.get_running_loop().time() + _HURRY_S

    @staticmethod
    async def _must_be_free(places: Iterable[tuple[str, int]]) -> None:
        """Raises OSError."""
        for place in places:
            if taken := await asyncio.to_thread(admin.port_problem, *place):
                raise OSError(taken)

    def _progress(self, role: GatewayRole) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def say(line: str) -> None:
            loop.call_soon_threadsafe(self._say, GatewayObserved(role.name, running=False, message=line))

        return say

    def _documents(self, role: GatewayRole) -> dict[str, str]:
        identity = self._identity()
        server = Server(self._server_host(), role.xds_port)
        most = limits.heap_bytes(psutil.virtual_memory().total)
        documents = {
            "bootstrap.json": json.dumps(bootstrap(identity, self._name, server, self._run_dir, most), indent=1),
            "sds.json": json.dumps(secrets(identity), indent=1),
            "peers.json": json.dumps(peers(identity), indent=1),
        }
        facts = [install.VERSION, supervisor.script(), *self._arguments, *documents.values()]
        documents["started-with"] = hashlib.sha256("\n".join(facts).encode()).hexdigest()
        return documents

    def _is_started_with(self, wanted: dict[str, str]) -> bool:
        try:
            return (self._run_dir / "started-with").read_text() == wanted["started-with"]
        except OSError:
            return False

    def _write(self, documents: dict[str, str]) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in documents.items():
            fresh = self._run_dir / f"{name}.new"
            fresh.write_text(text)
            fresh.replace(self._run_dir / name)

    def _say(self, observed: GatewayObserved | None) -> None:
        if observed != self._observed:
            self._observed = observed
            self._on_change()
