"""Whose the memory of a GPU is: one rule for the server, which places by it, and the agent, which admits by it.

Covers what counts as a stranger's and how it is told. Does not cover who has a claim (reservations, assignments).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# A GPU that nobody uses still says that some memory is used: the driver's own share (about 600 MiB on an H100, as NVML
# counts it). More than this without a process to it is a program that cannot be seen (another PID namespace).
UNSEEN_MIB = 1024
UNSEEN_SHARE = 0.05
# The X server of a machine without a screen holds a few MiB of each GPU; a desktop that somebody works at holds more.
DISPLAY_MIB = 64
NAMED = 3  # processes that a sentence names
# A program that allocates exactly what it reserved has its context on top.
OVER_SHARE = 1.02


class Process(Protocol):
    """See common/v1/host.proto, GpuProcess."""

    @property
    def pid(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def memory_mib(self) -> int | None: ...
    @property
    def replica_id(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def graphics(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Foreign:
    """What of one GPU is in hands that are not ours."""

    mib: int
    text: str  # "pid 3123 python3 holds 12.8GB"


def foreign(used_mib: int, total_mib: int, processes: Sequence[Process]) -> Foreign | None:
    """None: the GPU is ours alone. `mib` may be 0: a stranger holds a context whose memory the driver does not tell."""
    strangers = [it for it in processes if not it.replica_id and _counts(it)]
    known_mib = sum(it.memory_mib or 0 for it in processes if not it.replica_id)
    # Where the driver does not say what a process holds, nothing can be called unseen.
    is_told = all(it.memory_mib is not None for it in processes)
    ours_mib = sum(it.memory_mib or 0 for it in processes if it.replica_id)
    unseen_mib = max(0, used_mib - known_mib - ours_mib) if is_told else 0
    if unseen_mib <= max(UNSEEN_MIB, UNSEEN_SHARE * total_mib):
        unseen_mib = 0
    if not strangers and not unseen_mib:
        return None
    by_size = sorted(strangers, key=lambda it: (-(it.memory_mib or 0), it.pid))
    parts = [_text(it) for it in by_size[:NAMED]]
    if len(by_size) > NAMED:
        parts.append(f"{len(by_size) - NAMED} more do")
    if unseen_mib:
        parts.append(f"a program that cannot be seen from here holds {gigabytes(unseen_mib)}")
    return Foreign(sum(it.memory_mib or 0 for it in strangers) + unseen_mib, ", ".join(parts))


def is_over(held_mib: int, reserved_mib: int) -> bool:
    """A shared replica holds more than it reserved."""
    return reserved_mib > 0 and held_mib > reserved_mib * OVER_SHARE


def gigabytes(mib: float) -> str:
    """As users write it: "24GB", "11.2GB", "512MB"."""
    if 0 < mib < 1024:
        return f"{mib:.0f}MB"
    return f"{mib / 1024:.1f}".removesuffix(".0") + "GB"


def _counts(process: Process) -> bool:
    return not process.graphics or (process.memory_mib or 0) > DISPLAY_MIB


def _text(process: Process) -> str:
    where = f" in container {process.container}" if process.container else ""
    what = "some memory" if process.memory_mib is None else gigabytes(process.memory_mib)
    return f"pid {process.pid} {process.name}{where} holds {what}"
