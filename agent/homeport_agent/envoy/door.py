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
from homeport_agent.envoy.by_files import FileEnvoy, FollowsWish
from homeport_agent.envoy.door_documents import bootstrap, documents
from homeport_agent.envoy.door_tunnels import listener_name
from homeport_agent.envoy.host import DOOR_FOLDER, envoy_dir
from homeport_agent.model import DoorObserved, DoorWish

LOOK_S = 2.0
OPENING_LOOK_S = 0.05  # while a port is to open
# No packet goes there: it is asked which of our own addresses one would leave by (RFC 5737).
ANYWHERE = ("192.0.2.1", 9)


def door_dir(state_dir: Path) -> Path:
    return envoy_dir(state_dir) / DOOR_FOLDER


class Door(FollowsWish[DoorWish, DoorObserved]):
    """The wish None: no gateway of another host may come in. `look_again`: ports may have changed."""

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
        super().__init__(FileEnvoy(envoy_dir(state_dir), door_dir(state_dir), installing), on_change)
        self._server_host = server_host
        self._identity = identity
        self._address = address
        self._ports = ports
        self._seen: tuple[int, ...] = ()

    def look_again(self) -> None:
        if self._wish is not None and self._ports() != self._seen:
            self._wake.set()

    async def _keep(self, wish: DoorWish) -> tuple[DoorObserved, float]:
        address = await asyncio.to_thread(self._address)
        self._seen = self._ports()
        tunnels = tuple(it if it.address else replace(it, address=self._server_host()) for it in wish.tunnels)
        files = documents(self._identity(), address, self._seen, replace(wish, tunnels=tunnels))
        state = await self._envoy.keep(bootstrap(self._envoy.run_dir), files)
        listening = state.listening if state is not None else frozenset()
        closed = [port for port in self._seen if (address, port) not in listening]
        missing = [it for it in wish.tunnels if state is not None and listener_name(it) not in state.listeners]
        if state is not None and (closed or missing) and self._envoy.is_late():
            await self._envoy.forget("cds.json", "lds.json")
        wait_s = OPENING_LOOK_S if closed and not self._envoy.is_late() else LOOK_S
        opened = tuple(port for port in self._seen if port not in closed)
        return DoorObserved(address, opened, f"{address}:{closed[0]} is not open" if closed else ""), wait_s

    def _failed(self, why: str) -> DoorObserved:
        return DoorObserved("", (), why)


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
