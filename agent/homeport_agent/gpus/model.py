"""The nouns of GPUs: what one is, one sample of it, what happened to it. Values only; common/v1/host.proto says them anew.

None everywhere: the GPU or its driver does not tell.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    WARNING = "warning"  # it works; somebody should look
    FAILING = "failing"  # it gets nothing new, and what it runs moves


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong with a GPU or with the host."""

    code: str  # "xid-79", "ecc-double-bit", "nvml-hung"
    severity: Severity
    reason: str  # one sentence, with numbers
    action: str = ""  # what to do, one sentence
    since_s: float = 0.0  # unix time
    gpu_uuid: str = ""  # empty: the host


@dataclass(frozen=True, slots=True)
class GpuNear:
    """How one GPU reaches another."""

    uuid: str
    path: str  # "NV4" (so many NVLinks), "PIX", "PXB", "PHB", "NODE", "SYS": the words of `nvidia-smi topo -m`


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU, or a context on it."""

    pid: int  # on the host
    name: str
    memory_mib: int | None = None
    replica_id: str = ""  # of ours; empty: it is not
    container: str = ""  # another's container, name or short id; empty: none
    graphics: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """What one GPU, or one MIG instance, is; its UUID is its only name."""

    uuid: str
    name: str
    memory_total_mib: int
    memory_used_mib: int
    driver_version: str = ""
    cuda_version: str = ""
    compute_capability: str = ""
    architecture: str = ""
    pci_bus_id: str = ""
    mig_parent: str = ""  # UUID of the GPU that this is an instance of
    mig_enabled: bool = False  # cut into instances: nothing runs on it itself
    compute_mode: str = ""
    persistence_mode: bool | None = None
    unified_memory: bool = False  # it shares the host's memory, and memory_total_mib is that
    near: tuple[GpuNear, ...] = ()
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One sample of one GPU. `faults`: (function, error) of calls that failed with anything but "not supported"."""

    uuid: str
    memory_used_mib: int | None = None
    memory_free_mib: int | None = None
    memory_reserved_mib: int | None = None
    utilisation: float | None = None  # 0 to 1
    memory_utilisation: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttled: tuple[str, ...] = ()  # reasons that hold now, sorted: "hw-power-brake", "hw-thermal-slowdown", …
    ecc_volatile_corrected: int | None = None
    ecc_volatile_uncorrected: int | None = None
    ecc_aggregate_corrected: int | None = None
    ecc_aggregate_uncorrected: int | None = None
    retired_pages_corrected: int | None = None
    retired_pages_uncorrected: int | None = None
    retired_pages_pending: bool | None = None
    remapped_rows_corrected: int | None = None
    remapped_rows_uncorrected: int | None = None
    remapped_rows_pending: bool | None = None
    remapped_rows_failed: bool | None = None
    pcie_replays: int | None = None
    nvlink_errors: int | None = None
    nvlinks_active: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GpuTrouble:
    """A GPU of which there is no sample now."""

    uuid: str  # as it was known before; empty: one that was never named ("GPU at index 3")
    kind: str  # "lost" (NVML says so), "hung" (a call did not come back), "error"
    reason: str  # one sentence, with the function and NVML's words


@dataclass(frozen=True, slots=True)
class XidEvent:
    """The driver said that something happened to a GPU. See NVIDIA's XID catalogue."""

    gpu_uuid: str
    xid: int
    at_s: float  # unix time
    detail: str = ""  # the line of the kernel log, when it came from there
