"""GPUs by NVML, in one worker thread with a deadline: a driver that hangs must not hang the agent.

Covers sampling. pynvml is imported only once the driver's library is there: a host without GPUs pays nothing for it.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, XidEvent
from homeport_agent.model import GpuUsage

LIBRARY = "libnvidia-ml.so.1"
CALL_S = 5.0
LOOK_AGAIN_S = 30.0  # a driver that was not there may have been installed since
_MIB = 2**20
Answer = TypeVar("Answer")


class NvmlGpus:
    def __init__(self, call_s: float = CALL_S) -> None:
        self._worker = ThreadPoolExecutor(1, "nvml")
        self._call_s = call_s
        self._hung: asyncio.Future[Any] | None = None  # a call that did not come back in time
        self._nvml: Any = None
        self._is_begun = False
        self._look_again_s = 0.0
        self._absent = ""

    async def sample(self) -> GpuSample:
        return await self._ask(self._sample) or self._hanging()

    async def usage(self) -> tuple[GpuUsage, ...]:
        return await self._ask(self._usage) or ()

    async def xids(self) -> tuple[XidEvent, ...]:
        await asyncio.sleep(self._call_s)
        return ()

    async def _ask(self, what: Callable[[], Answer]) -> Answer | None:
        """None: the driver hangs."""
        if self._hung is not None and not self._hung.done():
            return None
        self._hung = None
        call = asyncio.get_running_loop().run_in_executor(self._worker, what)
        try:
            return await asyncio.wait_for(asyncio.shield(call), self._call_s)
        except TimeoutError:
            # Only one call at a time may hang: the next ones are not even begun until it has come back.
            self._hung = call
            return None

    async def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _hanging(self) -> GpuSample:
        return GpuSample(unavailable=f"the NVIDIA driver does not answer (NVML hangs for more than {self._call_s:g} s)")

    # --- in the worker ---

    def _sample(self) -> GpuSample:
        if not self._is_there():
            return GpuSample(unavailable=self._absent)
        try:
            return self._read()
        except self._nvml.NVMLError as error:
            self._end()
            return GpuSample(unavailable=f"NVML failed: {error}")

    def _usage(self) -> tuple[GpuUsage, ...]:
        if not self._is_there():
            return ()
        n, found = self._nvml, []
        with suppress(n.NVMLError):  # a driver that is going: the next sample says so
            for index in range(n.nvmlDeviceGetCount()):
                with suppress(n.NVMLError):
                    found.append(self._usage_of(n.nvmlDeviceGetHandleByIndex(index)))
        return tuple(found)

    def _usage_of(self, handle: Any) -> GpuUsage:
        n = self._nvml
        memory, utilisation = n.nvmlDeviceGetMemoryInfo(handle), None
        with suppress(n.NVMLError):  # not every GPU counts it (a MIG slice does not)
            utilisation = int(n.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        uuid = _text(n.nvmlDeviceGetUUID(handle))
        return GpuUsage(uuid, -(-memory.used // _MIB), memory.total // _MIB, utilisation)

    def _is_there(self) -> bool:
        """Whether NVML can be asked; looked at again only now and then."""
        if self._absent and time.monotonic() < self._look_again_s:
            return False
        self._absent = self._begin()
        if self._absent:
            self._look_again_s = time.monotonic() + LOOK_AGAIN_S
        return not self._absent

    def _begin(self) -> str:
        """Empty once NVML is ready, else why it is not."""
        if self._is_begun:
            return ""
        try:
            ctypes.CDLL(LIBRARY)
        except OSError:
            return f"no NVIDIA driver: {LIBRARY} not found"
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return f"the NVIDIA driver does not work: {error}"
        self._is_begun = True
        return ""

    def _end(self) -> None:
        self._is_begun = False
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # it was gone already

    def _read(self) -> GpuSample:
        n = self._nvml
        driver, cuda = _text(n.nvmlSystemGetDriverVersion()), int(n.nvmlSystemGetCudaDriverVersion_v2())
        count = n.nvmlDeviceGetCount()
        gpus, lost = [], []
        for index in range(count):
            try:
                gpus.append(
                    self._gpu(n.nvmlDeviceGetHandleByIndex(index), driver, f"{cuda // 1000}.{cuda % 1000 // 10}")
                )
            except n.NVMLError as error:
                lost.append(str(error))
        why = f"{len(lost)} of {count} GPUs do not answer: {lost[0]}" if lost else ""
        if not count:
            why = "the NVIDIA driver finds no GPU"
        return GpuSample(tuple(sorted(gpus, key=lambda gpu: gpu.uuid)), why)

    def _gpu(self, handle: Any, driver: str, cuda: str) -> Gpu:
        n = self._nvml
        memory = n.nvmlDeviceGetMemoryInfo(handle)
        major, minor = n.nvmlDeviceGetCudaComputeCapability(handle)
        return Gpu(
            uuid=_text(n.nvmlDeviceGetUUID(handle)),
            name=_text(n.nvmlDeviceGetName(handle)),
            memory_total_mib=memory.total // _MIB,
            memory_used_mib=-(-memory.used // _MIB),
            driver_version=driver,
            cuda_version=cuda,
            compute_capability=f"{major}.{minor}",
        )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
