"""PURE: Docker's numbers about a container (cgroup 1 and 2) as one Usage."""

from collections.abc import Mapping
from typing import Any

from homeport_agent.model import Usage

_MIB = 2**20


def usage_of(stats: Mapping[str, Any]) -> Usage | None:
    """None: the container does not run, so there is nothing to count."""
    cpu, memory = stats.get("cpu_stats") or {}, stats.get("memory_stats") or {}
    used = memory.get("usage")
    if used is None:
        return None
    return Usage(
        cpu_s=int((cpu.get("cpu_usage") or {}).get("total_usage", 0)) / 1e9,
        memory_mib=-(-max(0, int(used) - _page_cache(memory.get("stats") or {})) // _MIB),
        memory_limit_mib=int(memory.get("limit", 0)) // _MIB,
    )


def _page_cache(stats: Mapping[str, Any]) -> int:
    """What the kernel gives back when somebody needs it. Not "cache" or "file": those count shared memory too, and a
    model's workers hold gigabytes there."""
    prefix = "total_" if "total_inactive_file" in stats else ""  # cgroup 1 counts the groups below apart
    return int(stats.get(f"{prefix}inactive_file", 0)) + int(stats.get(f"{prefix}active_file", 0))
