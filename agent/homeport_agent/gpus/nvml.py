"""GPUs by NVML, in one worker thread with a deadline: a driver that hangs must not hang the agent.

Covers sampling. pynvml is imported only once the driver's library is there: a host without GPUs pays nothing for it.
"""

import asyncio
import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from homeport_agent.gpus.base import GpuSample
from homeport_agent.model import Gpu

LIBRARY = "libnvidia-ml.so.1"
CALL_S = 5.0
LOOK_AGAIN_S = 30.0  # a driver that was not there may have been installed since
_MIB = 2**20


class NvmlGpus:
    def __init__(self, call_s: float = CALL_S) -> None:
        self._worker = ThreadPoolExecutor(1, "nvml")
        self._call_s = call_s
        self._hung: asyncio.Future[GpuSample] | None = None  # a call that did not come back in time
        self._nvml: Any = None
        self._is_begun = False
        self._look_again_s = 0.0
        self._absent = ""

    async def sample(self) -> GpuSample:
        if self._hung is not None and not self._hung.done():
            return self._hanging()
        self._hung = None
        call = asyncio.get_running_loop().run_in_executor(self._worker, self._sample)
        try:
            return await asyncio.wait_for(asyncio.shield(call), self._call_s)
        except TimeoutError:
            # Only one call at a time may hang: the next ones are not even begun until it has come back.
            self._hung = call
            return self._hanging()

    async def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _hanging(self) -> GpuSample:
        return GpuSample(unavailable=f"the NVIDIA driver does not answer (NVML hangs for more than {self._call_s:g} s)")

    # --- in the worker ---

    def _sample(self) -> GpuSample:
        if self._absent and time.monotonic() < self._look_again_s:
            return GpuSample(unavailable=self._absent)
        self._absent = self._begin()
        if self._absent:
            self._look_again_s = time.monotonic() + LOOK_AGAIN_S
            return GpuSample(unavailable=self._absent)
        try:
            return self._read()
        except self._nvml.NVMLError as error:
            self._end()
            return GpuSample(unavailable=f"NVML failed: {error}")

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
