"""The room of health: fed with samples and XIDs, it says what is wrong, keeps that on disk, and has GPUs proved.

Covers the doing. What follows from what is decided in judge.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from homeport_agent.files import write_atomically
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Finding, Gpu, Severity, XidEvent
from homeport_agent.health import judge, memory
from homeport_agent.health.model import HostLook, Memory, Outcome
from homeport_agent.health.xids import BUILT_IN, Table

log = logging.getLogger("homeport.agent")

LAST_WRITE_S = 5.0
LOGGED_S = 60.0  # a sick GPU may say the same a thousand times a second

Check = Callable[[Gpu], Awaitable[Outcome]]


class HealthRoom:
    """`on_change` is called when `findings` or `known` are others. Nothing here waits but the `run`s."""

    def __init__(
        self,
        state_dir: Path,
        check: Check,
        on_change: Callable[[], None],
        table: Table = BUILT_IN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = state_dir / "health.json"
        self._check = check
        self._on_change = on_change
        self._table = table
        self._now_s = clock
        self._memory = self._kept = Memory()
        self._logged_s: dict[tuple[str, int], float] = {}  # as many as there are GPUs and codes
        self._has_news = asyncio.Event()
        self._is_due = asyncio.Event()
        self.findings: tuple[Finding, ...] = ()  # worst first
        self.known: tuple[Gpu, ...] = ()  # GPUs that were there once and are not in the last sample

    def read(self) -> None:
        """Remember what was kept on disk. Before anything else; once."""
        self._memory = self._kept = memory.read(self._path)
        self.findings, self.known = judge.findings(self._memory), judge.known_gpus(self._memory)

    def looked(self, sample: GpuSample, host: HostLook) -> None:
        """After each sample."""
        self._follow(judge.look(self._memory, sample, host, self._now_s()))

    def xid(self, event: XidEvent) -> None:
        """At once when the driver told of it."""
        now_s, key = self._now_s(), (event.gpu_uuid, event.xid)
        if not 0 <= now_s - self._logged_s.get(key, float("-inf")) < LOGGED_S:
            self._logged_s[key] = now_s
            log.warning("XID %d of GPU %s %s", event.xid, event.gpu_uuid or "unknown", event.detail)
        self._follow(judge.xid(self._memory, event, self._table, now_s))

    def clear(self, uuids: tuple[str, ...]) -> None:
        """Forget what was found of these GPUs; none: of all and of the host. What still holds is found again."""
        log.info("findings are cleared: %s", ", ".join(uuids) or "all")
        self._follow(judge.cleared(self._memory, uuids))

    async def run(self) -> None:
        """Have GPUs proved, one after the other. Until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            gpu = judge.due(self._memory, self._now_s())
            if gpu is None:
                continue
            outcome = await self._check(gpu)
            log.info("check of GPU %s: %s: %s", gpu.uuid, outcome.verdict, outcome.sentence)
            self._follow(judge.checked(self._memory, gpu.uuid, outcome, self._now_s()))

    async def run_saves(self) -> None:
        """Keep what is remembered on disk. Until cancelled; then what was told last is still written."""
        try:
            while True:
                await self._has_news.wait()
                await self.flush()
        finally:
            try:
                async with asyncio.timeout(LAST_WRITE_S):
                    await self.flush()
            except TimeoutError:
                log.error("what is known of the GPUs could not be written before the end")

    async def flush(self) -> None:
        """Write what was not written yet."""
        while self._has_news.is_set():
            self._has_news.clear()
            try:
                await asyncio.to_thread(write_atomically, self._path, memory.encode(self._memory))
            except OSError as error:
                log.error("what is known of the GPUs (%s) cannot be written: %s", self._path, error.strerror)
            except asyncio.CancelledError:  # it may not even have begun
                self._has_news.set()
                raise

    def _follow(self, fresh: Memory) -> None:
        self._memory = fresh
        if judge.due(fresh, self._now_s()):
            self._is_due.set()
        if (worth := memory.kept(fresh)) != self._kept:
            self._kept = worth
            self._has_news.set()
        findings, known = judge.findings(fresh), judge.known_gpus(fresh)
        if findings == self.findings and known == self.known:
            return
        _tell(self.findings, findings)
        self.findings, self.known = findings, known
        self._on_change()


def _tell(before: tuple[Finding, ...], after: tuple[Finding, ...]) -> None:
    old = {(it.gpu_uuid, it.code): it for it in before}
    new = {(it.gpu_uuid, it.code): it for it in after}
    for key, it in new.items():
        if key not in old or old[key].severity is not it.severity:
            level = logging.ERROR if it.severity is Severity.FAILING else logging.WARNING
            log.log(level, "%s is %s: %s; %s", _whose(it), it.severity, it.reason, it.action)
    for key, it in old.items():
        if key not in new:
            log.info("%s: over: %s", _whose(it), it.reason)


def _whose(it: Finding) -> str:
    return f"GPU {it.gpu_uuid}" if it.gpu_uuid else "the host"
