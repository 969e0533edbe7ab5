"""One sample of one GPU and of the MIG instances that it is cut into. Runs in the GPU's own thread.

Covers what is asked, and how often. Does not cover deadlines (nvml, workers) nor the ways between GPUs (topology).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from homeport_agent.gpus.calls import Calls, GpuError, text
from homeport_agent.gpus.counters import CounterReader, Counters
from homeport_agent.gpus.model import Gpu, GpuReading
from homeport_agent.gpus.processes import read_processes
from homeport_agent.gpus.words import COMPUTE_MODES, architecture, throttled

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Driver:
    """What all GPUs share."""

    version: str = ""
    cuda_version: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one GPU answered: itself first, then its instances."""

    gpus: tuple[Gpu, ...]
    readings: tuple[GpuReading, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    total_mib: int
    used_mib: int
    free_mib: int
    reserved_mib: int | None
    unified: bool = False

    @property
    def taken_mib(self) -> int:
        """All that cannot be had: what is used, and what the driver keeps for itself."""
        return max(self.used_mib, self.total_mib - self.free_mib)


@dataclass(slots=True)
class _Slow:
    """What is asked for only now and then."""

    counters: Counters = field(default_factory=lambda: Counters({}, ()))
    power_limit_w: float | None = None
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Instance:
    gpu: Gpu
    handle: Any
    calls: Calls


class GpuSampler:
    """One GPU as long as its handle holds. `uuid` and `pci_bus_id` are empty until it has told them."""

    def __init__(self, nvml: Any, index: int, driver: Driver, slow_s: float, clock: Callable[[], float]) -> None:
        self._nvml = nvml
        self._index = index
        self._driver = driver
        self._slow_s = slow_s
        self._clock = clock
        self._calls = Calls(nvml)
        self._gpu: Gpu | None = None
        self._counters: CounterReader | None = None
        self._slow = _Slow()
        self._slow_due_s = float("-inf")
        self._instances: list[_Instance] = []
        self.handle: Any = None
        self.uuid = ""
        self.pci_bus_id = ""

    @property
    def active_links(self) -> tuple[int, ...]:
        return self._slow.counters.active_links

    def look(self) -> Look:
        """Raises GpuError when there is no sample of it, DriverGone when there is none of any."""
        for calls in (self._calls, *(it.calls for it in self._instances)):
            calls.faults.clear()
        gpu = self._gpu or self._find()
        now_s = self._clock()
        if now_s >= self._slow_due_s:
            gpu = self._look_slowly(gpu)
            self._slow_due_s = now_s + self._slow_s
            self._slow.faults = dict(self._calls.faults)
        self._gpu = gpu
        whole = self._look_at(gpu, self.handle, self._calls, self._slow)
        looks = [whole, *(self._look_at(it.gpu, it.handle, it.calls, None) for it in self._instances)]
        return Look(tuple(gpu for gpu, _ in looks), tuple(reading for _, reading in looks))

    # --- what it is ---

    def _find(self) -> Gpu:
        calls = self._calls
        handle = calls.need("nvmlDeviceGetHandleByIndex", self._index)
        self.uuid = text(calls.need("nvmlDeviceGetUUID", handle))
        pci = calls.ask("nvmlDeviceGetPciInfo", handle)
        self.pci_bus_id = text(pci.busId).lower() if pci is not None else ""
        self.handle = handle
        self._counters = CounterReader(calls, self._nvml, handle)
        capability = calls.ask("nvmlDeviceGetCudaComputeCapability", handle)
        memory = self._memory(handle, calls)
        return Gpu(
            uuid=self.uuid,
            name=text(calls.need("nvmlDeviceGetName", handle)),
            memory_total_mib=memory.total_mib,
            memory_used_mib=memory.taken_mib,
            driver_version=self._driver.version,
            cuda_version=self._driver.cuda_version,
            compute_capability="{}.{}".format(*capability) if capability else "",
            architecture=architecture(calls.ask("nvmlDeviceGetArchitecture", handle)),
            pci_bus_id=self.pci_bus_id,
            unified_memory=memory.unified,
        )

    def _look_slowly(self, gpu: Gpu) -> Gpu:
        calls, handle = self._calls, self.handle
        mode = calls.ask("nvmlDeviceGetMigMode", handle)
        mig_enabled = bool(mode and mode[0])
        if mig_enabled != gpu.mig_enabled:
            calls.forget_what_lacks()
        limit = calls.ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        persistence = calls.ask("nvmlDeviceGetPersistenceMode", handle)
        compute_mode = calls.ask("nvmlDeviceGetComputeMode", handle)
        counters = self._counters or CounterReader(calls, self._nvml, handle)
        self._slow = _Slow(counters.read(), None if limit is None else limit / 1000)
        gpu = replace(
            gpu,
            mig_enabled=mig_enabled,
            compute_mode=COMPUTE_MODES.get(compute_mode, "") if compute_mode is not None else "",
            persistence_mode=None if persistence is None else bool(persistence),
        )
        self._instances = self._find_instances(gpu) if mig_enabled else []
        return gpu

    def _find_instances(self, parent: Gpu) -> list[_Instance]:
        known = {it.gpu.uuid: it for it in self._instances}
        found = []
        for number in range(self._calls.ask("nvmlDeviceGetMaxMigDeviceCount", self.handle) or 0):
            handle = self._calls.ask("nvmlDeviceGetMigDeviceHandleByIndex", self.handle, number)
            if handle is None:
                continue  # numbers have gaps
            uuid = text(self._calls.need("nvmlDeviceGetUUID", handle))
            calls = known[uuid].calls if uuid in known else Calls(self._nvml)
            memory = self._memory(handle, calls)
            gpu = Gpu(
                uuid=uuid,
                name=self._instance_name(parent, handle, memory, calls),
                memory_total_mib=memory.total_mib,
                memory_used_mib=memory.taken_mib,
                driver_version=parent.driver_version,
                cuda_version=parent.cuda_version,
                compute_capability=parent.compute_capability,
                architecture=parent.architecture,
                pci_bus_id=parent.pci_bus_id,
                mig_parent=parent.uuid,
                compute_mode=parent.compute_mode,
                persistence_mode=parent.persistence_mode,
            )
            found.append(_Instance(gpu, handle, calls))
        return found

    @staticmethod
    def _instance_name(parent: Gpu, handle: Any, memory: Memory, calls: Calls) -> str:
        """As NVML says it ("… MIG 1g.10gb"); older drivers give an instance the name of the whole."""
        name = text(calls.ask("nvmlDeviceGetName", handle) or "")
        if " MIG " in name:
            return name
        size = calls.ask("nvmlDeviceGetAttributes_v2", handle)
        slices = f"{size.gpuInstanceSliceCount}g." if size is not None else ""
        return f"{parent.name} MIG {slices}{round(memory.total_mib / 1024)}gb"

    # --- how it is ---

    def _look_at(self, gpu: Gpu, handle: Any, calls: Calls, slow: _Slow | None) -> tuple[Gpu, GpuReading]:
        """An instance has memory and processes of its own; the rest is told of the whole alone."""
        memory = self._memory(handle, calls)
        processes = () if gpu.mig_enabled else read_processes(calls, handle)
        reading = GpuReading(
            uuid=gpu.uuid,
            memory_used_mib=memory.used_mib,
            memory_free_mib=memory.free_mib,
            memory_reserved_mib=memory.reserved_mib,
            processes=processes,
        )
        if slow is not None:
            reading = self._with_sensors(reading, slow)
        faults = {**slow.faults, **calls.faults} if slow is not None else calls.faults
        reading = replace(reading, faults=tuple(sorted(faults.items())))
        fresh = replace(gpu, memory_total_mib=memory.total_mib, memory_used_mib=memory.taken_mib, processes=processes)
        return fresh, reading

    def _with_sensors(self, reading: GpuReading, slow: _Slow) -> GpuReading:
        calls, handle = self._calls, self.handle
        rates = calls.ask("nvmlDeviceGetUtilizationRates", handle)
        power = calls.ask("nvmlDeviceGetPowerUsage", handle)
        sm_clock = calls.ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_SM)
        memory_clock = calls.ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_MEM)
        temperature = calls.ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU)
        return replace(
            reading,
            utilisation=None if rates is None else int(rates.gpu) / 100,
            memory_utilisation=None if rates is None else int(rates.memory) / 100,
            temperature_c=None if temperature is None else float(temperature),
            power_w=None if power is None else power / 1000,
            power_limit_w=slow.power_limit_w,
            sm_clock_mhz=sm_clock,
            memory_clock_mhz=memory_clock,
            throttled=throttled(self._throttle_reasons()),
            **slow.counters.values,
        )

    def _throttle_reasons(self) -> int:
        new, old = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        reasons = self._calls.ask(new, self.handle)
        if reasons is None and self._calls.is_lacking(new):
            reasons = self._calls.ask(old, self.handle)  # its name before driver 535
        return reasons or 0

    def _memory(self, handle: Any, calls: Calls) -> Memory:
        """Raises GpuError: a GPU whose memory cannot be read cannot be placed on."""
        old, new = "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"
        reserved_mib = None
        told = calls.ask(old, handle, self._nvml.nvmlMemory_v2, name=new)
        if told is not None:
            reserved_mib = -(-int(told.reserved) // _MIB)
        else:
            told = calls.ask(old, handle)
        if told is not None and told.total:
            used_mib, free_mib = -(-int(told.used) // _MIB), int(told.free) // _MIB
            return Memory(int(told.total) // _MIB, used_mib, free_mib, reserved_mib)
        if told is not None or calls.is_lacking(old):
            host = psutil.virtual_memory()
            total_mib, free_mib = host.total // _MIB, host.available // _MIB
            return Memory(total_mib, total_mib - free_mib, free_mib, None, unified=True)
        raise GpuError("error", f"{old}: {calls.faults.get(old, 'no answer')}")
