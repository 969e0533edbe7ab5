"""The room of health: fed with samples and XIDs, it says what is wrong, keeps that on disk, and has GPUs proved.

Covers the doing. What follows from what is decided in judge.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Finding, Gpu, XidEvent
from homeport_agent.health.model import HostLook, Memory, Outcome

log = logging.getLogger("homeport.agent")

Check = Callable[[Gpu], Awaitable[Outcome]]


class HealthRoom:
    """`on_change` is called when `findings` or `known` are others."""

    def __init__(self, state_dir: Path, on_change: Callable[[], None]) -> None:
        self._path = state_dir / "health.json"
        self._on_change = on_change
        self._memory = Memory()
        self.findings: tuple[Finding, ...] = ()  # worst first
        self.known: tuple[Gpu, ...] = ()  # GPUs that are not in the last sample, and were before

    def looked(self, sample: GpuSample, host: HostLook) -> None: ...

    def xid(self, event: XidEvent) -> None: ...

    def clear(self, uuids: tuple[str, ...]) -> None:
        """Forget what was found of these GPUs; none: of all of them and the host. What still holds is found again."""

    async def run(self) -> None:
        """Have GPUs proved. Until cancelled."""
        await asyncio.Event().wait()

    async def run_saves(self) -> None:
        """Keep the memory on disk. Until cancelled."""
        await asyncio.Event().wait()

    def now_s(self) -> float:
        return time.time()
