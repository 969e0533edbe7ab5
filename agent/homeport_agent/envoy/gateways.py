"""All gateways that this host is: an EnvoyHost each, made when its role comes and gone when its Envoy has ended.

Covers which there are, also those that an earlier run of the agent has left, and that what one has counted outlives it until
the server has it. Does not cover what one does (host).
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.host import DOOR_FOLDER, EDGE_FOLDER, RUN_FOLDER, EnvoyHost, envoy_dir, run_dir
from homeport_agent.model import GatewayObserved, GatewayRole

COUNTED_S = 30.0  # for the server to take what the access log of one that goes has left

log = logging.getLogger("homeport.agent")


def run_dirs(state_dir: Path) -> tuple[Path, ...]:
    """The folder of each gateway that this host is or was."""
    folder = envoy_dir(state_dir) / RUN_FOLDER
    return tuple(sorted(it for it in folder.iterdir() if it.is_dir())) if folder.is_dir() else ()


def stop_all(state_dir: Path) -> bool:
    """End every Envoy of this host. False when none ran. Blocking: for a thread."""
    # The folder itself is that of the one Envoy of a host, from before there were several.
    folders = (
        envoy_dir(state_dir) / RUN_FOLDER,
        *run_dirs(state_dir),
        *(envoy_dir(state_dir) / it for it in (DOOR_FOLDER, EDGE_FOLDER)),
    )
    ran = [supervisor.stop(folder) for folder in folders]  # all of them, whatever the first one says
    return any(ran)


class EnvoyGateways:
    """See gateway.GatewayHost."""

    def __init__(
        self,
        state_dir: Path,
        make: Callable[[str], EnvoyHost],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        counted: Callable[[str], Coroutine[Any, Any, None]],
        counted_s: float = COUNTED_S,
    ) -> None:
        """`make` gives the keeper of one gateway's Envoy, by its name. `counted` returns when nothing in its log is needed."""
        self._counted = counted
        self._counted_s = counted_s
        self._wanted_again: dict[str, asyncio.Event] = {}  # of those that wait for `counted`
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
        if name in self._wanted_again:
            self._wanted_again[name].set()
        elif name not in self._hosts:
            self._hosts[name] = self._make(name)
            self._spawn(self._run_one(name, self._hosts[name]))

    async def _run_one(self, name: str, host: EnvoyHost) -> None:
        await host.run()
        if await self._may_go(name):
            await asyncio.to_thread(self._remove, name)
        del self._hosts[name]
        self._wake.set()  # it may be wanted again by now

    async def _may_go(self, name: str) -> bool:
        """When its log is counted, or that takes too long. False: it is wanted again, and goes on with the log it has."""
        again = self._wanted_again[name] = asyncio.Event()
        counting, wanting = asyncio.ensure_future(self._counted(name)), asyncio.ensure_future(again.wait())
        both = (counting, wanting)
        try:
            await asyncio.wait(both, timeout=self._counted_s, return_when=asyncio.FIRST_COMPLETED)
            if again.is_set():
                return False
            if not counting.done():
                log.warning("gateway %s goes, and its last requests are not in the usage: the server did not ask", name)
            elif (error := counting.exception()) is not None:
                log.warning("gateway %s goes, and its last requests are not in the usage: %s", name, error)
            return True
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            del self._wanted_again[name]

    def _remove(self, name: str) -> None:
        """At one moment for who reads its log: half of it would be taken for another."""
        going = envoy_dir(self._state_dir) / f"{name}.going"
        shutil.rmtree(going, ignore_errors=True)
        with suppress(OSError):
            run_dir(self._state_dir, name).rename(going)
        shutil.rmtree(going, ignore_errors=True)
