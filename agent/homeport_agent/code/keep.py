"""PURE: which kept code may go."""

from collections.abc import Mapping, Set

KEEP_S = 86400.0  # a rollback, or the next apply, comes back to it within a day or not at all


def stale_manifests(last_used_s: Mapping[str, float], assigned: Set[str], now_s: float) -> tuple[str, ...]:
    """Code that no replica of this host has and that was not used for a day."""
    return tuple(sorted(key for key, used_s in last_used_s.items() if key not in assigned and _is_old(used_s, now_s)))


def stale_contents(came_s: Mapping[str, float], needed: Set[str], now_s: float) -> tuple[str, ...]:
    """Contents of no code that is kept. A fresh one may belong to code that is on its way."""
    return tuple(sorted(key for key, at_s in came_s.items() if key not in needed and _is_old(at_s, now_s)))


def _is_old(at_s: float, now_s: float) -> bool:
    # A time ahead of the clock (it was set back) counts from now on as long as anything else.
    return now_s - at_s >= KEEP_S
