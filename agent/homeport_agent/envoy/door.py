"""The door of this host: an Envoy that lets gateways of other hosts in to its replicas, which listen on loopback alone.

Covers when it runs, what it is given, and which of its ports are open. It belongs to its supervisor, as a gateway's does, and
is configured by files: it outlives the agent and the server. Does not cover what stands in the files (door_documents).
"""

import asyncio
import hashlib
import ipaddress
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from homeport_agent.envoy import admin, install, supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.door_documents import bootstrap, documents
from homeport_agent.envoy.host import DOOR_FOLDER, envoy_dir
from homeport_agent.model import DoorObserved, DoorWish

LOOK_S = 2.0
OPENING_LOOK_S = 0.05  # while a port is to open
RETRY_S = 5.0
OPENING_S = 10.0  # a port that is not open after this was taken by somebody: Envoy tries each only once
# No packet goes there: it is asked which of our own addresses one would leave by (RFC 5737).
ANYWHERE = ("192.0.2.1", 9)


def door_dir(state_dir: Path) -> Path:
    return envoy_dir(state_dir) / DOOR_FOLDER


class Door:
    """`apply` notes the wish, `look_again` that ports may have changed; `run` does the work."""

    def __init__(
        self,
        state_dir: Path,
        identity: Callable[[], Identity],
        address: Callable[[], str],
        ports: Callable[[], tuple[int, ...]],
        on_change: Callable[[], None],
        installing: asyncio.Lock,
    ) -> None:
        """`address`: of this machine, where gateways dial it; raises OSError. `ports`: of its replicas on loopback, sorted."""
        self._dir = envoy_dir(state_dir)
        self._run_dir = door_dir(state_dir)
        self._identity = identity
        self._address = address
        self._ports = ports
        self._on_change = on_change
        self._installing = installing
        self._wish: DoorWish | None = None
        self._known = False
        self._observed: DoorObserved | None = None
        self._wake = asyncio.Event()
        self._seen: tuple[int, ...] = ()
        self._wrote_at_s = 0.0

    def apply(self, wish: DoorWish | None) -> None:
        """None: no gateway of another host may come in."""
        if not self._known or wish != self._wish:
            self._wish, self._known = wish, True
            self._wake.set()

    def look_again(self) -> None:
        if self._wish is not None and self._ports() != self._seen:
            self._wake.set()

    def observed(self) -> DoorObserved | None:
        return self._observed

    async def run(self) -> None:
        """Until cancelled; its Envoy goes on."""
        while True:
            wait_s = await self._turn() if self._known else None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _turn(self) -> float | None:
        """Seconds until the next one; None: when something changes."""
        wish = self._wish
        if wish is None:
            await asyncio.to_thread(supervisor.stop, self._run_dir)
            self._say(None)
            return None
        try:
            address = await asyncio.to_thread(self._address)
            open_ports = await self._keep(wish, address)
        except (install.EnvoyUnavailable, OSError) as error:
            self._say(DoorObserved("", (), str(error)))
            return RETRY_S
        closed = [port for port in self._seen if port not in open_ports]
        message = f"{address}:{closed[0]} is not open" if closed else ""
        self._say(DoorObserved(address, open_ports, message))
        return OPENING_LOOK_S if closed and not self._is_late() else LOOK_S

    async def _keep(self, wish: DoorWish, address: str) -> tuple[int, ...]:
        """The ports that are open. Raises EnvoyUnavailable, OSError."""
        identity = self._identity()
        self._seen = self._ports()
        start = json.dumps(bootstrap(self._run_dir), indent=1)
        mark = hashlib.sha256(f"{install.VERSION}\n{start}".encode()).hexdigest()
        files = documents(identity, address, self._seen, wish.gateway_host_ids)
        is_running = await asyncio.to_thread(supervisor.find, self._run_dir) and self._read("started-with") == mark
        if not is_running:
            await asyncio.to_thread(supervisor.stop, self._run_dir)
            files = {**files, "bootstrap.json": start, "started-with": mark}
        if await asyncio.to_thread(self._write, files):
            self._wrote_at_s = asyncio.get_running_loop().time()
        if not is_running:
            async with self._installing:
                binary = await asyncio.to_thread(install.install, self._dir)
            await asyncio.to_thread(supervisor.start, binary, self._run_dir, ("--concurrency", "1"))
        state = await asyncio.to_thread(admin.look, self._run_dir)
        listening = state.listening if state is not None else frozenset()
        open_ports = tuple(port for port in self._seen if (address, port) in listening)
        if state is not None and len(open_ports) < len(self._seen) and self._is_late():
            await asyncio.to_thread((self._run_dir / "lds.json").unlink, missing_ok=True)  # written anew: tried again
        return open_ports

    def _is_late(self) -> bool:
        return asyncio.get_running_loop().time() - self._wrote_at_s > OPENING_S

    def _read(self, name: str) -> str:
        try:
            return (self._run_dir / name).read_text()
        except OSError:
            return ""

    def _write(self, files: dict[str, str]) -> bool:
        """Whether something was another. Replaced by rename: that is what Envoy watches for."""
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        changed = {name: text for name, text in files.items() if self._read(name) != text}
        for name, text in changed.items():
            fresh = self._run_dir / f"{name}.new"
            fresh.write_text(text)
            fresh.replace(self._run_dir / name)
        return bool(changed)

    def _say(self, observed: DoorObserved | None) -> None:
        if observed != self._observed:
            self._observed = observed
            self._on_change()


def own_address(host: str, port: int) -> str:
    """The address of this machine that it reaches the server by, or else the world: where gateways reach it, unless there is
    NAT between. Raises OSError when it has none but loopback."""
    for target in ((host, port), ANYWHERE):
        with suppress(OSError):
            family, _, _, _, where = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(where)
                address = str(probe.getsockname()[0])
            if not ipaddress.ip_address(address).is_loopback:
                return address
    raise OSError("this host has no address but loopback: no gateway of another host reaches it")
