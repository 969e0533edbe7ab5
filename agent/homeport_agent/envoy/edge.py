"""The edge of this host: an Envoy that hosts dial which its gateways cannot dial themselves, with a socket for each replica.

Covers when it runs, what it is given, and which hosts have a tunnel to it. It belongs to its supervisor, as a gateway's does.
Does not cover what stands in the files (edge_documents).
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from homeport_agent.envoy import admin
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.by_files import FileEnvoy, FollowsWish
from homeport_agent.envoy.edge_documents import EVERYWHERE, bootstrap, documents, socket_name
from homeport_agent.envoy.host import EDGE_FOLDER, envoy_dir
from homeport_agent.envoy.tunnel_words import name_of
from homeport_agent.model import EdgeHost, EdgeObserved, EdgeWish

LOOK_S = 1.0
OPENING_LOOK_S = 0.05  # while a host is to come, or a socket to open
HURRY_S = 10.0  # for so long after a change


def edge_dir(state_dir: Path) -> Path:
    return envoy_dir(state_dir) / EDGE_FOLDER


class Edge(FollowsWish[EdgeWish, EdgeObserved]):
    """The wish None: no host needs it."""

    def __init__(
        self, state_dir: Path, identity: Callable[[], Identity], on_change: Callable[[], None], installing: asyncio.Lock
    ) -> None:
        super().__init__(FileEnvoy(envoy_dir(state_dir), edge_dir(state_dir), installing), on_change)
        self._identity = identity
        self._hurry_until_s = 0.0
        self._hurries_for: EdgeWish | None = None

    async def _keep(self, wish: EdgeWish) -> tuple[EdgeObserved, float]:
        now_s = asyncio.get_running_loop().time()
        if wish != self._hurries_for:
            self._hurries_for, self._hurry_until_s = wish, now_s + HURRY_S
        seen = await self._see(wish)
        return seen, OPENING_LOOK_S if seen.hosts != wish.hosts and now_s < self._hurry_until_s else LOOK_S

    async def _see(self, wish: EdgeWish) -> EdgeObserved:
        """Raises EnvoyUnavailable, OSError."""
        state = await self._envoy.keep(bootstrap(self._envoy.run_dir), documents(self._identity(), wish))
        if state is None:
            return EdgeObserved("the edge is starting")
        if (EVERYWHERE, wish.port) not in state.listening:
            if problem := await asyncio.to_thread(admin.port_problem, EVERYWHERE, wish.port):
                raise OSError(problem)
            if self._envoy.is_late():
                await self._envoy.forget("cds.json", "lds.json")
            return EdgeObserved("the edge is starting")
        wanted = {f"./{socket_name(it.host_id, port)}" for it in wish.hosts for port in it.ports}
        if not wanted <= state.sockets and self._envoy.is_late():
            await self._envoy.forget("cds.json", "lds.json")
        tunnels = await asyncio.to_thread(self._tunnels)
        here = [
            EdgeHost(it.host_id, tuple(p for p in it.ports if f"./{socket_name(it.host_id, p)}" in state.sockets))
            for it in wish.hosts
            if tunnels.get(name_of(it.host_id))
        ]
        return EdgeObserved("", tuple(here))

    def _tunnels(self) -> dict[str, int]:
        """How many each host has, by its name. OSError when it does not answer."""
        return tunnels_of(admin.get(self._envoy.run_dir, "/stats?format=json&filter=%5C.node%5C."))

    def _failed(self, why: str) -> EdgeObserved:
        return EdgeObserved(why)


def tunnels_of(stats: bytes) -> dict[str, int]:
    """From Envoy's statistics, `tunnels.worker_0.node.NAME`. PURE."""
    found = json.loads(stats)["stats"]
    named = ((it.get("name", "").partition(".node.")[2], it.get("value")) for it in found)
    return {name: int(value) for name, value in named if name and isinstance(value, int)}
