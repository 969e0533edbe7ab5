"""What this machine is: system, memory, disk, Docker, GPUs, sampled again and again.

Covers sampling, and when a change is worth telling. Does not cover how GPUs are read (gpus) nor the telling (link).
"""

import asyncio
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from homeport_agent.engine.base import Engine, EngineError
from homeport_agent.gpus.base import Gpus, GpuSample
from homeport_agent.gpus.model import Gpu
from homeport_agent.health.model import HostLook
from homeport_agent.health.room import HealthRoom
from homeport_agent.model import HostFacts
from homeport_agent.telemetry.room import TelemetryRoom

GPU_SAMPLE_S = 1.0
HOST_SAMPLE_S = 5.0
FIRST_INFO_S = 2.0  # the server hears of this host only then: a Docker that hangs must not make it lost
IMAGES_SAMPLE_S = 30.0  # where an image is, only decides between hosts that fit
MOST_IMAGES = 500
_MIB = 2**20
# Numbers that move all the time are told when they have moved by this much, else with the next report that has news.
GPU_MEMORY_STEP_MIB = 64
MEMORY_STEP_MIB = 512
DISK_STEP_MIB = 1024


def _memory_moved(old: Gpu, new: Gpu) -> bool:
    if abs(old.memory_used_mib - new.memory_used_mib) >= GPU_MEMORY_STEP_MIB:
        return True
    return any(
        abs((a.memory_mib or 0) - (b.memory_mib or 0)) >= GPU_MEMORY_STEP_MIB
        for a, b in zip(old.processes, new.processes, strict=False)
    )


def matters(old: HostFacts, new: HostFacts) -> bool:
    """Whether the server should hear of the difference at once."""
    return (
        _rounded(old) != _rounded(new)
        or any(_memory_moved(a, b) for a, b in zip(old.gpus, new.gpus, strict=False))
        or abs(old.memory_available_mib - new.memory_available_mib) >= MEMORY_STEP_MIB
        or abs(old.disk_free_mib - new.disk_free_mib) >= DISK_STEP_MIB
    )


def _rounded(it: HostFacts) -> tuple[object, ...]:
    gpus = tuple(
        replace(gpu, memory_used_mib=0, processes=tuple(replace(p, memory_mib=None) for p in gpu.processes))
        for gpu in it.gpus
    )
    fixed = (it.hostname, it.os, it.kernel, it.architecture, it.cpus, it.memory_mib, it.disk_total_mib)
    return (*fixed, it.docker_version, it.docker_unavailable, it.gpus_unavailable, it.images, gpus)


class FactsSampler:
    """`facts` is the last sample that was worth telling; on_change is called when it is replaced.

    `newest` is the last look at the GPUs, at `newest_s` of the monotonic clock: what admission judges by.
    """

    def __init__(
        self,
        engine: Engine,
        gpus: Gpus,
        hostname: str,
        on_change: Callable[[], None],
        health: HealthRoom | None = None,
        telemetry: TelemetryRoom | None = None,
    ) -> None:
        self._health = health
        self._telemetry = telemetry
        self._engine = engine
        self._gpus = gpus
        self._hostname = hostname or socket.gethostname()
        self._on_change = on_change
        self._data_root = "/"
        self.facts = HostFacts(self._hostname)
        self._host = self.facts
        self.newest, self.newest_s = GpuSample(), float("-inf")
        self._images: tuple[str, ...] = ()
        self._sampled_host_s = self._sampled_images_s = float("-inf")

    async def run(self) -> None:
        while True:
            await self.sample()
            await asyncio.sleep(GPU_SAMPLE_S)

    async def sample(self) -> None:
        """One sample; asks Docker and the system only now and then, the GPUs each time."""
        now_s = time.monotonic()
        if now_s - self._sampled_host_s >= HOST_SAMPLE_S:
            self._host = await self._sample_host()
            self._sampled_host_s = now_s
        gpus = await self._gpus.sample()
        if self._telemetry is not None:
            gpus = self._telemetry.owned(gpus)
        self.newest, self.newest_s = gpus, time.monotonic()
        known: tuple[Gpu, ...] = ()
        if self._health is not None:
            self._health.looked(gpus, self._look())
            known = self._health.known
        fresh = HostFacts(
            **{name: getattr(self._host, name) for name in HostFacts.__slots__ if not name.startswith("gpus")},
            gpus=tuple(sorted((*gpus.gpus, *known), key=lambda gpu: gpu.uuid)),
            gpus_unavailable=gpus.unavailable,
        )
        if matters(self.facts, fresh):
            self.facts = fresh
            self._on_change()
        if self._telemetry is not None:
            self._telemetry.looked(gpus, fresh)

    def _look(self) -> HostLook:
        host = self._host
        offset_s = self._telemetry.clock_offset_s if self._telemetry is not None else None
        return HostLook(host.docker_unavailable, host.disk_total_mib, host.disk_free_mib, offset_s)

    async def _sample_host(self) -> HostFacts:
        version, unavailable = "", ""
        is_first = self._sampled_host_s < 0
        try:
            async with asyncio.timeout(FIRST_INFO_S if is_first else None):
                info = await self._engine.info()
                version, self._data_root = info.version, info.data_root
                if time.monotonic() - self._sampled_images_s >= IMAGES_SAMPLE_S:
                    self._images = (await self._engine.images())[:MOST_IMAGES]
                    self._sampled_images_s = time.monotonic()
        except TimeoutError:
            unavailable = f"Docker did not answer within {FIRST_INFO_S:g} s"
        except EngineError as error:
            unavailable = str(error)
        memory = psutil.virtual_memory()
        total_mib, free_mib = _disk(self._data_root)
        return HostFacts(
            hostname=self._hostname,
            os=_os_name(),
            kernel=platform.release(),
            architecture=platform.machine(),
            cpus=os.cpu_count() or 1,
            memory_mib=memory.total // _MIB,
            memory_available_mib=memory.available // _MIB,
            disk_total_mib=total_mib,
            disk_free_mib=free_mib,
            docker_version=version,
            docker_unavailable=unavailable,
            images=self._images,
        )


def _disk(path: str) -> tuple[int, int]:
    """Total and free MiB of the disk under `path`, or under its first parent that can be seen."""
    for folder in (Path(path), *Path(path).parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return usage.total // _MIB, usage.free // _MIB
    return 0, 0


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
