"""The newest readings of this host, and what of them the server does not know yet.

Covers putting a look at the GPUs together with the host's own numbers and what replicas hold. Does not cover how GPUs are
read (gpus), what is wrong with them (health), nor the sending (link).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Finding
from homeport_agent.model import AssignedReplica, HostFacts
from homeport_agent.telemetry import changes, peaks
from homeport_agent.telemetry.host import HostReader
from homeport_agent.telemetry.owners import Owners

Running = Mapping[str, tuple[AssignedReplica, str]]  # by replica id: what it was assigned, its container's id


class TelemetryRoom:
    """`running`: the replicas that have a container. `on_news` is called after each look, `on_findings` when those change."""

    def __init__(
        self, running: Callable[[], Running], on_news: Callable[[], None], on_findings: Callable[[], None]
    ) -> None:
        self._running = running
        self._on_news = on_news
        self._on_findings = on_findings
        self._owners = Owners(lambda: {container: replica for replica, (_, container) in running().items()})
        self._host = HostReader()
        self._held: dict[str, peaks.Held] = {}
        self._now = changes.Told()
        self._told: changes.Told | None = None
        self.clock_offset_s: float | None = None  # this clock minus the server's; None: no server has said its time
        self.findings: tuple[Finding, ...] = ()  # replicas that hold more than they reserved

    def owned(self, sample: GpuSample) -> GpuSample:
        """The same look, each process with its replica or container."""
        return replace(
            sample,
            gpus=tuple(replace(it, processes=self._owners.named(it.processes)) for it in sample.gpus),
            readings=tuple(replace(it, processes=self._owners.named(it.processes)) for it in sample.readings),
        )

    def looked(self, sample: GpuSample, facts: HostFacts) -> None:
        """After each look; `sample` as `owned` gives it."""
        running = self._running()
        self._held, replicas = peaks.held(self._held, running, sample.readings)
        docker, disk_used_mib = facts.docker_unavailable or "answers", facts.disk_total_mib - facts.disk_free_mib
        self._now = changes.Told(self._host.read(docker, disk_used_mib, self.clock_offset_s), sample.readings, replicas)
        found = peaks.over(running, replicas, time.time(), self.findings)
        if [it.gpu_uuid for it in found] != [it.gpu_uuid for it in self.findings]:
            self.findings = found  # as it was found first: the number of each second is in the readings
            self._on_findings()
        self._on_news()

    def news(self, *, anew: bool = False) -> changes.News | None:
        """What is to be sent now; from here on it counts as told. None: nothing. `anew`: to a server that knows nothing."""
        news, told = changes.news(None if anew else self._told, self._now)
        if news.is_empty:
            return None
        self._told = told
        return news
