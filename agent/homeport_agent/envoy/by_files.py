"""An Envoy that is configured by files, under a supervisor of its own: it outlives the agent and needs no server.

Covers writing what changed, starting, adopting after a restart of the agent, starting anew when what it is started with is
another, and the loop that follows a wish. Does not cover what stands in the files, nor when it ought to run.
"""

import asyncio
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from homeport_agent.envoy import admin, install, supervisor
from homeport_agent.envoy.admin import EnvoyState

Wish = TypeVar("Wish")
Seen = TypeVar("Seen")

RETRY_S = 5.0  # after a failure: a port that is taken, a registry that cannot be reached
OPENING_S = 10.0  # a listener that is not open after this found its place taken: Envoy tries each only once
ARGUMENTS = ("--concurrency", "1")
_MARK = "started-with"


class FileEnvoy:
    """Not for two tasks at once."""

    def __init__(self, install_dir: Path, run_dir: Path, installing: asyncio.Lock) -> None:
        """`installing`: held while the binary is installed; all Envoys of a host have one."""
        self._install_dir = install_dir
        self.run_dir = run_dir
        self._installing = installing
        self._wrote_at_s = 0.0

    async def keep(self, start: dict[str, Any], files: Mapping[str, str]) -> EnvoyState | None:
        """Run with these; what is seen of it, None while it starts. Raises EnvoyUnavailable, OSError."""
        bootstrap = json.dumps(start, indent=1)
        mark = hashlib.sha256("\n".join((install.VERSION, bootstrap, *ARGUMENTS)).encode()).hexdigest()
        is_running = await asyncio.to_thread(supervisor.find, self.run_dir) and self._read(_MARK) == mark
        if not is_running:
            # Before one that runs is ended: another version may be a long download, or not to be had.
            async with self._installing:
                binary = await asyncio.to_thread(install.install, self._install_dir)
            await asyncio.to_thread(supervisor.stop, self.run_dir)
            files = {**files, "bootstrap.json": bootstrap, _MARK: mark}
        if await asyncio.to_thread(self._write, files):
            self._wrote_at_s = asyncio.get_running_loop().time()
        if not is_running:
            await asyncio.to_thread(supervisor.start, binary, self.run_dir, ARGUMENTS)
        return await asyncio.to_thread(admin.look, self.run_dir)

    async def stop(self) -> None:
        await asyncio.to_thread(supervisor.stop, self.run_dir)

    def is_late(self) -> bool:
        """What was written last has had its time to be taken up."""
        return asyncio.get_running_loop().time() - self._wrote_at_s > OPENING_S

    async def forget(self, *names: str) -> None:
        """Files that are written anew by the next `keep`: what failed in them is tried again."""
        for name in names:
            await asyncio.to_thread((self.run_dir / name).unlink, missing_ok=True)

    def _read(self, name: str) -> str:
        try:
            return (self.run_dir / name).read_text()
        except OSError:
            return ""

    def _write(self, files: Mapping[str, str]) -> bool:
        """Whether something was another. Replaced by rename: that is what Envoy watches for."""
        self.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        changed = {name: text for name, text in files.items() if self._read(name) != text}
        for name, text in changed.items():
            fresh = self.run_dir / f"{name}.new"
            fresh.write_text(text)
            fresh.replace(self.run_dir / name)
        return bool(changed)


class FollowsWish(ABC, Generic[Wish, Seen]):
    """`apply` notes the newest wish, `run` does the work; `on_change` is called when `observed()` has changed."""

    def __init__(self, envoy: FileEnvoy, on_change: Callable[[], None]) -> None:
        self._envoy = envoy
        self._on_change = on_change
        self._wish: Wish | None = None
        self._known = False
        self._observed: Seen | None = None
        self._wake = asyncio.Event()

    @abstractmethod
    async def _keep(self, wish: Wish) -> tuple[Seen, float]:
        """What is seen, and seconds until the next look. Raises EnvoyUnavailable, OSError."""

    @abstractmethod
    def _failed(self, why: str) -> Seen: ...

    def apply(self, wish: Wish | None) -> None:
        """None: it is not to run."""
        if not self._known or wish != self._wish:
            self._wish, self._known = wish, True
            self._wake.set()

    def observed(self) -> Seen | None:
        """None: it is not to run, and does not."""
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
            seen, wait_s = await self._keep(wish)
        except (install.EnvoyUnavailable, OSError) as error:
            seen, wait_s = self._failed(str(error)), RETRY_S
        self._say(seen)
        return wait_s

    def _say(self, observed: Seen | None) -> None:
        if observed != self._observed:
            self._observed = observed
            self._on_change()
