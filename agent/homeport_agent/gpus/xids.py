"""What the driver tells unasked: XIDs, by NVML's event set and by the kernel's log where it can be read.

Covers waiting for them in a thread of its own, and one XID from two sources being one. What an XID means is health's.
"""

import asyncio
import ctypes
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from homeport_agent.gpus.kernel_log import KernelLog, bus_key
from homeport_agent.gpus.model import XidEvent
from homeport_agent.gpus.workers import Worker

WAIT_S = 1.0  # how long one wait in the driver lasts, which an event ends; the kernel's log is looked at in between
HUNG_S = 5.0
AGAIN_S = 30.0  # where no GPU could be registered: looked at again
SAME_S = 2.0  # the same XID of the same GPU within so long is the same one

# The driver's generation, and index and UUID of each GPU that answers: one that hangs would hang the listener too.
Wanted = tuple[int, tuple[tuple[int, str], ...]]


class XidListener:
    """`wait` again and again, by one task; each time bounded."""

    def __init__(self, log: KernelLog | None = None) -> None:
        self._worker = Worker("nvml-events")
        self._log = log or KernelLog()
        self._set: Any = None
        self._uuids: dict[int, str] = {}  # by the address that a handle is
        self._registered: Wanted | None = None  # what the set was made for
        self._set_of = 0  # the driver's generation that the set is of
        self._retry_s = 0.0
        self._told_s: dict[tuple[str, int], float] = {}

    async def wait(self, nvml: Any, wanted: Wanted, buses: Mapping[str, str]) -> tuple[XidEvent, ...]:
        """`nvml`: None while there is no driver. `wanted`: whose events; `buses`: UUIDs by PCI bus id, of lost GPUs too."""
        found: list[XidEvent] = []
        if nvml is None or self._worker.is_busy:
            await asyncio.sleep(WAIT_S)
        else:
            call = self._worker.begin(lambda: self._listen(nvml, wanted))
            with suppress(TimeoutError):  # the sample says that it hangs; nothing more is asked until this comes back
                found += await asyncio.wait_for(asyncio.shield(call), HUNG_S)
        keys = {bus_key(bus): uuid for bus, uuid in buses.items()}
        now_s = time.time()
        found += [XidEvent(keys.get(it.bus, ""), it.xid, now_s, it.line) for it in self._log.read() if keys or it.bus]
        return tuple(it for it in found if self._is_new(it))

    def close(self) -> None:
        self._worker.stop()
        self._log.close()

    def _is_new(self, event: XidEvent) -> bool:
        key = (event.gpu_uuid, event.xid)
        is_new = event.at_s - self._told_s.get(key, float("-inf")) > SAME_S
        self._told_s = {it: at_s for it, at_s in self._told_s.items() if event.at_s - at_s <= SAME_S}
        if is_new:
            self._told_s[key] = event.at_s
        return is_new

    # --- in the worker ---

    def _listen(self, nvml: Any, wanted: Wanted) -> list[XidEvent]:
        if self._registered != wanted:
            self._register(nvml, wanted)
        if not self._uuids:
            if time.monotonic() >= self._retry_s:
                self._registered, self._retry_s = None, time.monotonic() + AGAIN_S
            time.sleep(WAIT_S)
            return []
        try:
            told = nvml.nvmlEventSetWait_v2(self._set, round(WAIT_S * 1000))
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_TIMEOUT:
                self._registered, self._uuids = None, {}  # the driver went, or a GPU was lost: with a new set next time
                time.sleep(WAIT_S)
            return []
        if told.eventType != nvml.nvmlEventTypeXidCriticalError:
            return []
        return [XidEvent(self._uuids.get(_address(told.device), ""), int(told.eventData), time.time())]

    def _register(self, nvml: Any, wanted: Wanted) -> None:
        """GPUs that tell no events, or are lost, are left out."""
        generation, present = wanted
        self._free(nvml, generation)
        self._registered = wanted
        try:
            self._set, self._set_of = nvml.nvmlEventSetCreate(), generation
        except nvml.NVMLError:
            self._set = None
            return
        for index, uuid in present:
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                if not nvml.nvmlDeviceGetSupportedEventTypes(handle) & nvml.nvmlEventTypeXidCriticalError:
                    continue
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._set)
                self._uuids[_address(handle)] = uuid
            except nvml.NVMLError:
                continue

    def _free(self, nvml: Any, generation: int) -> None:
        self._uuids = {}
        if self._set is not None and self._set_of == generation:  # another one went with its driver
            with suppress(nvml.NVMLError):
                nvml.nvmlEventSetFree(self._set)
        self._set = None


def _address(handle: Any) -> int:
    return int(ctypes.cast(handle, ctypes.c_void_p).value or 0)
