"""Who holds memory of a GPU: the processes that NVML names, with the names that the system gives them.

Whose container a process is in is told elsewhere.
"""

from pathlib import Path
from typing import Any

from homeport_agent.gpus.calls import Calls, text
from homeport_agent.gpus.model import GpuProcess

_MIB = 2**20
# Version 3 since driver 510; before it the MIG instances were not told apart.
_COMPUTE = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
_GRAPHICS = ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2")


def read_processes(calls: Calls, handle: Any) -> tuple[GpuProcess, ...]:
    """By pid. A process that computes and draws is there once, as one that computes. Raises GpuError, DriverGone."""
    found: dict[int, GpuProcess] = {}
    for functions, graphics in ((_GRAPHICS, True), (_COMPUTE, False)):
        for it in _running(calls, handle, functions):
            pid = int(it.pid)
            memory_mib = None if it.usedGpuMemory is None else -(-int(it.usedGpuMemory) // _MIB)
            found[pid] = GpuProcess(pid, name_of(calls, pid), memory_mib, graphics=graphics)
    return tuple(found[pid] for pid in sorted(found))


def _running(calls: Calls, handle: Any, functions: tuple[str, str]) -> list[Any]:
    for function in functions:
        told = calls.ask(function, handle)
        if told is not None or not calls.is_lacking(function):
            return list(told or ())
    return []


def name_of(calls: Calls, pid: int) -> str:
    """The system's short name of a process, else the file that NVML says it runs; empty: it is in neither's sight."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        told = calls.ask("nvmlSystemGetProcessName", pid)
        return Path(text(told).split(" ")[0]).name if told else ""
