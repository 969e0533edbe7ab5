"""All gateways that this host is: an EnvoyHost each, made when its role comes and gone when its Envoy has ended.

Covers which there are, also those that an earlier run of the agent has left. Does not cover what one does (host).
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.host import DOOR_FOLDER, RUN_FOLDER, EnvoyHost, envoy_dir, run_dir
from homeport_agent.model import GatewayObserved, GatewayRole


def run_dirs(state_dir: Path) -> tuple[Path, ...]:
    """The folder of each gateway that this host is or was."""
    folder = envoy_dir(state_dir) / RUN_FOLDER
    return tuple(sorted(it for it in folder.iterdir() if it.is_dir())) if folder.is_dir() else ()


def stop_all(state_dir: Path) -> bool:
    """End every Envoy of this host. False when none ran. Blocking: for a thread."""
    # The folder itself is that of the one Envoy of a host, from before there were several.
    folders = (envoy_dir(state_dir) / RUN_FOLDER, *run_dirs(state_dir), envoy_dir(state_dir) / DOOR_FOLDER)
    ran = [supervisor.stop(folder) for folder in folders]  # all of them, whatever the first one says
    return any(ran)


class EnvoyGateways:
    """See gateway.GatewayHost."""

    def __init__(
        self,
        state_dir: Path,
        make: Callable[[str], EnvoyHost],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`make` gives the keeper of one gateway's Envoy, by its name."""
        self._state_dir = state_dir
        self._make = make
        self._spawn = spawn
        self._hosts: dict[str, EnvoyHost] = {}
        self._wish: tuple[GatewayRole, ...] | None = None
        self._wake = asyncio.Event()

    async def apply(self, roles: tuple[GatewayRole, ...]) -> None:
        self._wish = roles
        self._wake.set()

    def observed(self) -> tuple[GatewayObserved, ...]:
        seen = (host.observed() for _, host in sorted(self._hosts.items()))
        return tuple(it for it in seen if it is not None)

    async def run(self) -> None:
        """Until cancelled. The Envoys go on after that."""
        await self._wake.wait()
        await asyncio.to_thread(supervisor.stop, envoy_dir(self._state_dir) / RUN_FOLDER)  # see stop_all
        left = await asyncio.to_thread(run_dirs, self._state_dir)
        for folder in left:
            self._keep(folder.name)
        while True:
            self._wake.clear()
            wanted = {role.name: role for role in self._wish or ()}
            for name in wanted:
                self._keep(name)
            for name, host in tuple(self._hosts.items()):
                await host.apply(wanted.get(name))
            await self._wake.wait()

    def _keep(self, name: str) -> None:
        if name not in self._hosts:
            self._hosts[name] = self._make(name)
            self._spawn(self._run_one(name, self._hosts[name]))

    async def _run_one(self, name: str, host: EnvoyHost) -> None:
        await host.run()
        await asyncio.to_thread(shutil.rmtree, run_dir(self._state_dir, name), ignore_errors=True)
        del self._hosts[name]
        self._wake.set()  # it may be wanted again by now
