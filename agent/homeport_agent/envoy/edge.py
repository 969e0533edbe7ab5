"""The edge of this host: an Envoy that hosts dial which its gateways cannot dial themselves, with a socket for each replica.

Covers when it runs, what it is given, and which hosts have a tunnel to it. It belongs to its supervisor, as a gateway's does.
Does not cover what stands in the files (edge_documents).
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from homeport_agent.envoy import admin
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.by_files import FileEnvoy
from homeport_agent.envoy.edge_documents import EVERYWHERE, bootstrap, documents, socket_name
from homeport_agent.envoy.host import EDGE_FOLDER, envoy_dir
from homeport_agent.envoy.install import EnvoyUnavailable
from homeport_agent.envoy.tunnel_words import name_of
from homeport_agent.model import EdgeHost, EdgeObserved, EdgeWish

LOOK_S = 1.0
OPENING_LOOK_S = 0.05  # while a host is to come, or a socket to open
HURRY_S = 10.0  # for so long after a change
RETRY_S = 5.0


def edge_dir(state_dir: Path) -> Path:
    return envoy_dir(state_dir) / EDGE_FOLDER


class Edge:
    """`apply` notes the wish; `run` does the work."""

    def __init__(
        self, state_dir: Path, identity: Callable[[], Identity], on_change: Callable[[], None], installing: asyncio.Lock
    ) -> None:
        self._envoy = FileEnvoy(envoy_dir(state_dir), edge_dir(state_dir), installing)
        self._identity = identity
        self._on_change = on_change
        self._wish: EdgeWish | None = None
        self._known = False
        self._observed: EdgeObserved | None = None
        self._wake = asyncio.Event()
        self._hurry_until_s = 0.0

    def apply(self, wish: EdgeWish | None) -> None:
        """None: no host needs it."""
        if not self._known or wish != self._wish:
            self._wish, self._known = wish, True
            self._hurry_until_s = asyncio.get_running_loop().time() + HURRY_S
            self._wake.set()

    def observed(self) -> EdgeObserved | None:
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
            seen = await self._keep(wish)
        except (EnvoyUnavailable, OSError) as error:
            self._say(EdgeObserved(str(error)))
            return RETRY_S
        self._say(seen)
        hurries = seen.hosts != wish.hosts and asyncio.get_running_loop().time() < self._hurry_until_s
        return OPENING_LOOK_S if hurries else LOOK_S

    async def _keep(self, wish: EdgeWish) -> EdgeObserved:
        """Raises EnvoyUnavailable, OSError."""
        state = await self._envoy.keep(bootstrap(self._envoy.run_dir), documents(self._identity(), wish))
        if state is None:
            return EdgeObserved("the edge is starting")
        if (EVERYWHERE, wish.port) not in state.listening:
            if problem := await asyncio.to_thread(admin.port_problem, EVERYWHERE, wish.port):
                raise OSError(problem)
            if self._envoy.is_late():
                await self._envoy.forget("lds.json")
            return EdgeObserved("the edge is starting")
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

    def _say(self, observed: EdgeObserved | None) -> None:
        if observed != self._observed:
            self._observed = observed
            self._on_change()


def tunnels_of(stats: bytes) -> dict[str, int]:
    """From Envoy's statistics, `tunnels.worker_0.node.NAME`. PURE."""
    found = json.loads(stats)["stats"]
    named = ((it.get("name", "").partition(".node.")[2], it.get("value")) for it in found)
    return {name: int(value) for name, value in named if name and isinstance(value, int)}
