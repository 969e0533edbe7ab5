"""The door of this host: an Envoy that lets gateways of other hosts in to its replicas, which listen on loopback alone.

Covers when it runs, what it is given, and which of its ports are open. It belongs to its supervisor, as a gateway's does, and
is configured by files: it outlives the agent and the server. Does not cover what stands in the files (door_documents).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.by_files import FileEnvoy
from homeport_agent.envoy.door_documents import bootstrap, documents
from homeport_agent.envoy.host import DOOR_FOLDER, envoy_dir
from homeport_agent.envoy.install import EnvoyUnavailable
from homeport_agent.model import DoorObserved, DoorWish

LOOK_S = 2.0
OPENING_LOOK_S = 0.05  # while a port is to open
RETRY_S = 5.0
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
        server_host: Callable[[], str],
    ) -> None:
        """`address`: of this machine, where gateways dial it; raises OSError. `ports`: of its replicas on loopback, sorted.
        `server_host`: where the server is found from here.
        """
        self._server_host = server_host
        self._envoy = FileEnvoy(envoy_dir(state_dir), door_dir(state_dir), installing)
        self._identity = identity
        self._address = address
        self._ports = ports
        self._on_change = on_change
        self._wish: DoorWish | None = None
        self._known = False
        self._observed: DoorObserved | None = None
        self._wake = asyncio.Event()
        self._seen: tuple[int, ...] = ()

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
            await self._envoy.stop()
            self._say(None)
            return None
        try:
            address = await asyncio.to_thread(self._address)
            open_ports = await self._keep(wish, address)
        except (EnvoyUnavailable, OSError) as error:
            self._say(DoorObserved("", (), str(error)))
            return RETRY_S
        closed = [port for port in self._seen if port not in open_ports]
        message = f"{address}:{closed[0]} is not open" if closed else ""
        self._say(DoorObserved(address, open_ports, message))
        return OPENING_LOOK_S if closed and not self._envoy.is_late() else LOOK_S

    async def _keep(self, wish: DoorWish, address: str) -> tuple[int, ...]:
        """The ports that are open. Raises EnvoyUnavailable, OSError."""
        self._seen = self._ports()
        tunnels = tuple(it if it.address else replace(it, address=self._server_host()) for it in wish.tunnels)
        files = documents(self._identity(), address, self._seen, replace(wish, tunnels=tunnels))
        state = await self._envoy.keep(bootstrap(self._envoy.run_dir), files)
        listening = state.listening if state is not None else frozenset()
        open_ports = tuple(port for port in self._seen if (address, port) in listening)
        if state is not None and len(open_ports) < len(self._seen) and self._envoy.is_late():
            await self._envoy.forget("lds.json")
        return open_ports

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
