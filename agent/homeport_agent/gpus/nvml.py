"""GPUs by NVML: one thread for the driver and one for each GPU, each call with a deadline, so that what hangs hangs alone.

Covers which GPUs there are, who is asked and for how long, and a driver that comes, goes or is replaced. Does not cover what
is asked of one GPU (sampling) nor what the driver tells unasked (xids). pynvml is imported only once the driver's library is
there: a host without GPUs pays nothing for it.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.calls import MISMATCH, DriverGone, GpuError, text
from homeport_agent.gpus.model import GpuNear, GpuTrouble, XidEvent
from homeport_agent.gpus.sampling import Driver, GpuSampler, Look
from homeport_agent.gpus.topology import Peer, find_near
from homeport_agent.gpus.workers import Worker
from homeport_agent.gpus.xids import XidListener
from homeport_agent.model import GpuUsage

LIBRARY = "libnvidia-ml.so.1"
CALL_S = 2.0  # a sample takes milliseconds; a GPU that resets takes seconds, and is told as one that does not answer
SLOW_S = 5.0  # between two looks at counters, modes and instances
LOOK_AGAIN_S = 30.0  # a driver that was not there may have been installed since
TRY_AGAIN_S = 2.0  # one that does not work may be on its way in
FRESH_S = 2.0
Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Unit:
    """One index of NVML; its GPU's names outlive the GPU, so that a lost one can be told."""

    index: int
    worker: Worker
    sampler: GpuSampler | None = None
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    """The driver answers."""

    count: int
    driver: Driver
    generation: int  # another number: what was known of handles is void


class _Absent(Exception):
    """Why there are no GPUs to be asked."""

    def __init__(self, why: str, trouble: str = "") -> None:
        super().__init__(why)
        self.trouble = trouble


class NvmlGpus:
    def __init__(self, call_s: float = CALL_S, slow_s: float = SLOW_S) -> None:
        self._call_s = call_s
        self._slow_s = slow_s
        self._driver = Worker("nvml")
        self._units: list[_Unit] = []
        self._nvml: Any = None
        self._is_begun = False
        self._generation = 0
        self._absent: _Absent | None = None
        self._look_again_s = 0.0
        self._seen = _Ready(0, Driver(), 0)
        self._near: dict[str, tuple[GpuNear, ...]] = {}
        self._near_of: object = None  # what `_near` was made from
        self._turn = asyncio.Lock()
        self._last = GpuSample()
        self._last_s = float("-inf")
        self._xids = XidListener()

    async def sample(self) -> GpuSample:
        async with self._turn:
            self._last = await self._sample()
            self._last_s = time.monotonic()
            return self._last

    async def usage(self) -> tuple[GpuUsage, ...]:
        sample = self._last if time.monotonic() - self._last_s <= FRESH_S else await self.sample()
        totals = {gpu.uuid: gpu.memory_total_mib for gpu in sample.gpus}
        return tuple(
            GpuUsage(it.uuid, it.memory_used_mib, totals.get(it.uuid), it.utilisation) for it in sample.readings
        )

    async def xids(self) -> tuple[XidEvent, ...]:
        buses = {unit.sampler.pci_bus_id: unit.uuid for unit in self._units if unit.sampler is not None}
        return await self._xids.wait(self._nvml if self._is_begun else None, self._generation, buses)

    async def close(self) -> None:
        for worker in (self._driver, *(unit.worker for unit in self._units)):
            worker.stop()
        self._xids.close()

    async def _sample(self) -> GpuSample:
        hung = f"the NVIDIA driver does not answer (NVML hangs for more than {self._call_s:g} s)"
        for _ in range(2):  # a driver that was reloaded is begun anew at once
            try:
                ready = await self._ask(self._driver, self._look_at_driver)
            except TimeoutError:
                return GpuSample(unavailable=hung, driver_trouble="hung")
            except _Absent as absent:
                return GpuSample(unavailable=str(absent), driver_trouble=absent.trouble)
            try:
                return await self._sample_all(ready)
            except DriverGone as gone:
                self._is_begun, why = False, str(gone)
        return GpuSample(unavailable=f"the NVIDIA driver goes away again and again: {why}", driver_trouble="not-loaded")

    async def _sample_all(self, ready: _Ready) -> GpuSample:
        """Raises DriverGone."""
        self._settle(ready)
        units = self._units[: ready.count]
        answers = await asyncio.gather(*(self._look_at(unit, ready) for unit in units), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        looks = [(unit, it) for unit, it in zip(units, answers, strict=True) if isinstance(it, Look)]
        troubles = tuple(it for it in answers if isinstance(it, GpuTrouble))
        await self._find_near([unit for unit, _ in looks], ready)
        gpus = [replace(gpu, near=self._near.get(gpu.uuid, ())) for _, look in looks for gpu in look.gpus]
        why = f"{len(troubles)} of {ready.count} GPUs do not answer: {troubles[0].reason}" if troubles else ""
        return GpuSample(
            gpus=tuple(sorted(gpus, key=lambda gpu: gpu.uuid)),
            unavailable=why or ("" if ready.count else "the NVIDIA driver finds no GPU"),
            readings=tuple(sorted((it for _, look in looks for it in look.readings), key=lambda it: it.uuid)),
            troubles=troubles,
        )

    def _settle(self, ready: _Ready) -> None:
        """Units for all indexes; where the driver or their number is another, what was known of them is void."""
        if (ready.generation, ready.count) != (self._seen.generation, self._seen.count):
            for unit in self._units:
                unit.sampler = None
                if ready.count != self._seen.count and not unit.worker.is_busy:
                    unit.uuid = ""  # indexes move up when one in the middle is gone
        self._seen = ready
        for index in range(len(self._units), ready.count):
            self._units.append(_Unit(index, Worker(f"nvml-{index}")))

    async def _look_at(self, unit: _Unit, ready: _Ready) -> Look | GpuTrouble:
        """Raises DriverGone."""
        sampler = unit.sampler
        if sampler is None:
            sampler = unit.sampler = GpuSampler(self._nvml, unit.index, ready.driver, self._slow_s, time.monotonic)
        which = unit.uuid or f"the GPU at index {unit.index}"
        try:
            look = await self._ask(unit.worker, sampler.look)
        except TimeoutError:
            unit.sampler = None
            return GpuTrouble(unit.uuid, "hung", f"{which} does not answer for more than {self._call_s:g} s")
        except GpuError as error:
            unit.sampler = None  # with a handle of its own, when it is back
            unit.uuid = sampler.uuid or unit.uuid
            return GpuTrouble(unit.uuid, error.kind, str(error))
        unit.uuid = sampler.uuid
        return look

    async def _find_near(self, units: list[_Unit], ready: _Ready) -> None:
        """Asked again only when other GPUs or links are there."""
        samplers = [unit.sampler for unit in units if unit.sampler is not None]
        made_from = (ready.generation, tuple((it.uuid, it.active_links) for it in samplers))
        if made_from == self._near_of or len(samplers) < 2:
            return
        peers = [Peer(it.uuid, it.handle, it.pci_bus_id, len(it.active_links)) for it in samplers]

        async def ways(unit: _Unit, own: Peer, links: tuple[int, ...]) -> tuple[GpuNear, ...]:
            others = [peer for peer in peers if peer is not own]
            try:
                return await self._ask(unit.worker, lambda: find_near(self._nvml, own, links, others))
            except (TimeoutError, GpuError):
                return ()  # its next sample says so

        found = await asyncio.gather(
            *(ways(*it) for it in zip(units, peers, (it.active_links for it in samplers), strict=True))
        )
        self._near = {peer.uuid: near for peer, near in zip(peers, found, strict=True)}
        self._near_of = made_from

    async def _ask(self, worker: Worker, what: Callable[[], Answer]) -> Answer:
        """Raises TimeoutError, at once where the last call has not come back yet."""
        if worker.is_busy:
            raise TimeoutError
        return await asyncio.wait_for(asyncio.shield(worker.begin(what)), self._call_s)

    # --- in the driver's thread ---

    def _look_at_driver(self) -> _Ready:
        """Raises _Absent. What is there is made sure of each time; looked for again only now and then."""
        if self._is_begun:
            try:
                return replace(self._seen, count=self._nvml.nvmlDeviceGetCount(), generation=self._generation)
            except self._nvml.NVMLError:
                self._end()
        if self._absent is not None and time.monotonic() < self._look_again_s:
            raise self._absent
        try:
            ready = self._begin()
        except _Absent as absent:
            self._absent = absent
            self._look_again_s = time.monotonic() + (TRY_AGAIN_S if absent.trouble else LOOK_AGAIN_S)
            raise
        self._absent = None
        return ready

    def _begin(self) -> _Ready:
        try:
            ctypes.CDLL(LIBRARY)
        except OSError:
            raise _Absent(f"no NVIDIA driver: {LIBRARY} not found") from None
        import pynvml as n

        self._nvml = n
        try:
            n.nvmlInit()
            cuda = int(n.nvmlSystemGetCudaDriverVersion_v2())
            driver = Driver(text(n.nvmlSystemGetDriverVersion()), f"{cuda // 1000}.{cuda % 1000 // 10}")
            count = n.nvmlDeviceGetCount()
        except n.NVMLError as error:
            trouble = "mismatch" if error.value == MISMATCH else "not-loaded"
            raise _Absent(f"the NVIDIA driver does not work: {error}", trouble) from None
        self._is_begun = True
        self._generation += 1
        return _Ready(count, driver, self._generation)

    def _end(self) -> None:
        self._is_begun = False
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # it was gone already
