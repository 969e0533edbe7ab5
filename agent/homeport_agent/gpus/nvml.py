"""GPUs by NVML: one thread looks at them in turn, each call with a deadline, and what hangs hangs alone.

A look takes less than a millisecond, a change of threads as long: so one thread goes from GPU to GPU. Where it does not come
back from one it is left to that GPU, and another thread goes on with the others.

Covers which GPUs there are, who is asked and for how long, and a driver that comes, goes or is replaced. Does not cover what
is asked of one GPU (sampling) nor what the driver tells unasked (xids). pynvml is imported only once the driver's library is
there: a host without GPUs pays nothing for it.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
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
    """One index of NVML; its GPU's name outlives the GPU, so that a lost one can be told."""

    index: int
    sampler: GpuSampler | None = None
    uuid: str = ""
    bus: str = ""
    stuck: Worker | None = None  # the thread that did not come back from it

    def learn(self, sampler: GpuSampler) -> None:
        """Its names; what the sampler has not been told is kept as it was."""
        self.uuid = sampler.uuid or self.uuid
        self.bus = sampler.pci_bus_id or self.bus

    @property
    def is_stuck(self) -> bool:
        if self.stuck is not None and not self.stuck.is_busy:
            self.stuck.stop()
            self.stuck = None
        return self.stuck is not None


@dataclass(slots=True)
class _Round:
    """One way through the units, in a thread; `at` is where it is. Given up, it ends after the unit that it is at."""

    units: list[_Unit]
    at: _Unit | None = None  # None: not at the first one yet
    is_given_up: bool = False
    answers: dict[int, "Look | GpuTrouble"] = field(default_factory=dict)  # by index

    @property
    def left(self) -> list[_Unit]:
        return [unit for unit in self.units if unit.index not in self.answers and unit is not self.at]


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
        self._worker = Worker("nvml")
        self._units: list[_Unit] = []
        self._nvml: Any = None
        self._is_begun = False
        self._generation = 0
        self._facts = Driver()
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
        # The kernel's log tells of a GPU after it is lost; events are asked only of those that answer.
        buses = {unit.bus: unit.uuid for unit in self._units if unit.bus}
        present = tuple((unit.index, unit.uuid) for unit in self._units if unit.uuid and unit.sampler is not None)
        return await self._xids.wait(self._nvml if self._is_begun else None, (self._generation, present), buses)

    async def close(self) -> None:
        self._worker.stop()
        self._xids.close()

    async def _sample(self) -> GpuSample:
        hung = f"the NVIDIA driver does not answer (NVML hangs for more than {self._call_s:g} s)"
        for _ in range(2):  # a driver that was reloaded is begun anew at once
            try:
                ready = await self._ask(self._worker, self._look_at_driver)
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
        answers = await self._look_at_all(units, ready)
        looks = [(unit, it) for unit in units if isinstance(it := answers[unit.index], Look)]
        troubles = tuple(it for it in answers.values() if isinstance(it, GpuTrouble))
        await self._find_near([unit for unit, _ in looks], ready)
        gpus = [replace(gpu, near=self._near.get(gpu.uuid, ())) for _, look in looks for gpu in look.gpus]
        why = f"{len(troubles)} of {ready.count} GPUs do not answer: {troubles[0].reason}" if troubles else ""
        return GpuSample(
            gpus=tuple(sorted(gpus, key=lambda gpu: gpu.uuid)),
            unavailable=why or ("" if ready.count else "the NVIDIA driver finds no GPU"),
            readings=tuple(sorted((it for _, look in looks for it in look.readings), key=lambda it: it.uuid)),
            troubles=troubles,
        )

    async def _look_at_all(self, units: list[_Unit], ready: _Ready) -> "dict[int, Look | GpuTrouble]":
        """By index, in order. Ends within twice the deadline however many hang. Raises DriverGone."""
        way = _Round([unit for unit in units if not unit.is_stuck])
        try:
            await self._ask(self._worker, lambda: self._go(way, ready))
        except TimeoutError:
            # Whoever comes after the first that hangs gets a thread of its own: they may hang too.
            stuck, self._worker = self._worker, Worker("nvml")
            others = [(unit, Worker(f"nvml-{unit.index}")) for unit in way.left]
            self._give_up(way, stuck)
            rounds = [(_Round([unit]), worker) for unit, worker in others]
            found = await asyncio.gather(
                *(self._ask(worker, partial(self._go, each, ready)) for each, worker in rounds), return_exceptions=True
            )
            for (each, worker), answer in zip(rounds, found, strict=True):
                if isinstance(answer, TimeoutError):
                    self._give_up(each, worker)
                else:
                    worker.stop()
                way.answers |= each.answers
            for answer in found:
                if isinstance(answer, BaseException) and not isinstance(answer, TimeoutError):
                    raise answer from None
        return {unit.index: way.answers.get(unit.index) or self._hung(unit) for unit in units}

    @staticmethod
    def _give_up(way: _Round, worker: Worker) -> None:
        way.is_given_up = True
        if way.at is not None and worker.is_busy:
            way.at.stuck, way.at.sampler = worker, None

    def _hung(self, unit: _Unit) -> GpuTrouble:
        which = unit.uuid or f"the GPU at index {unit.index}"
        return GpuTrouble(unit.uuid, "hung", f"{which} does not answer for more than {self._call_s:g} s")

    def _settle(self, ready: _Ready) -> None:
        """Units for all indexes; where the driver or their number is another, what was known of them is void."""
        if (ready.generation, ready.count) != (self._seen.generation, self._seen.count):
            for unit in self._units:
                unit.sampler = None
                if ready.count != self._seen.count and not unit.is_stuck:
                    unit.uuid = unit.bus = ""  # indexes move up when one in the middle is gone
        self._seen = ready
        for index in range(len(self._units), ready.count):
            self._units.append(_Unit(index))

    async def _find_near(self, units: list[_Unit], ready: _Ready) -> None:
        """Asked again only when other GPUs or links are there."""
        samplers = [unit.sampler for unit in units if unit.sampler is not None]
        made_from = (ready.generation, tuple((it.uuid, it.active_links) for it in samplers))
        if made_from == self._near_of or len(samplers) < 2:
            return
        peers = [Peer(it.uuid, it.handle, it.pci_bus_id, len(it.active_links)) for it in samplers]

        def ways() -> list[tuple[GpuNear, ...]]:
            return [
                find_near(self._nvml, own, sampler.active_links, [peer for peer in peers if peer is not own])
                for own, sampler in zip(peers, samplers, strict=True)
            ]

        try:
            found = await self._ask(self._worker, ways)
        except (TimeoutError, GpuError):
            return  # the next sample says so
        self._near = {peer.uuid: near or () for peer, near in zip(peers, found, strict=True)}
        self._near_of = None if None in found else made_from

    async def _ask(self, worker: Worker, what: Callable[[], Answer]) -> Answer:
        """Raises TimeoutError, at once where the last call has not come back yet."""
        if worker.is_busy:
            raise TimeoutError
        return await asyncio.wait_for(asyncio.shield(worker.begin(what)), self._call_s)

    # --- in a thread ---

    def _go(self, way: _Round, ready: _Ready) -> None:
        """Raises DriverGone."""
        for unit in way.units:
            way.at = unit
            answer = self._look_at(unit, ready)
            if way.is_given_up:
                return  # it came back too late: another thread has gone on
            way.answers[unit.index] = answer

    def _look_at(self, unit: _Unit, ready: _Ready) -> Look | GpuTrouble:
        """Raises DriverGone."""
        sampler = unit.sampler
        if sampler is None:
            sampler = unit.sampler = GpuSampler(self._nvml, unit.index, ready.driver, self._slow_s, time.monotonic)
        try:
            look = sampler.look()
        except GpuError as error:
            unit.sampler = None  # with a handle of its own, when it is back
            unit.learn(sampler)
            return GpuTrouble(unit.uuid, error.kind, str(error))
        unit.learn(sampler)
        return look

    def _look_at_driver(self) -> _Ready:
        """Raises _Absent. What is there is made sure of each time; looked for again only now and then."""
        if self._is_begun:
            try:
                return _Ready(self._nvml.nvmlDeviceGetCount(), self._facts, self._generation)
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
        self._is_begun, self._facts = True, driver  # kept here: nobody may wait for this call any more
        self._generation += 1
        return _Ready(count, driver, self._generation)

    def _end(self) -> None:
        self._is_begun = False
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # it was gone already
