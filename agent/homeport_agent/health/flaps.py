"""Damping: a GPU that came back and fails again must be well for longer and longer before it counts as healthy. Pure.

The first failure costs no wait. One within 10 minutes of a return costs a minute, the next two, up to an hour.
"""

from dataclasses import replace
from datetime import UTC, datetime

from homeport_agent.gpus.model import Finding, Severity
from homeport_agent.health.model import Flaps

AGAIN_S = 600.0
FIRST_HOLD_S, LONGEST_HOLD_S = 60.0, 3600.0
MOST_BACKS = 16


def moved(it: Flaps, *, has_cause: bool, now_s: float) -> Flaps:
    """After something of the GPU changed, or time passed; `has_cause`: something that was found still fails it."""
    if has_cause:
        if it.is_failing:
            return replace(it, watched_until_s=None)  # the watch begins anew when the cause is gone
        # Twice the wait: else one that waits an hour and fails each half hour would begin anew each time.
        if it.backs_s and now_s - it.backs_s[-1] <= max(AGAIN_S, 2 * it.hold_s):
            return Flaps(True, it.backs_s, min(max(2 * it.hold_s, FIRST_HOLD_S), LONGEST_HOLD_S))
        return Flaps(True)
    if not it.is_failing:
        return it
    until_s = now_s + it.hold_s if it.watched_until_s is None else min(it.watched_until_s, now_s + it.hold_s)
    if now_s < until_s:
        return replace(it, watched_until_s=until_s)
    return Flaps(False, (*it.backs_s, now_s)[-MOST_BACKS:], it.hold_s)


def finding(it: Flaps, uuid: str) -> Finding | None:
    """What is said while a GPU is watched."""
    if it.watched_until_s is None:
        return None
    times, since_s = len(it.backs_s), it.watched_until_s - it.hold_s
    minutes = max(1, round((since_s - it.backs_s[0]) / 60))
    until = datetime.fromtimestamp(it.watched_until_s, UTC)
    reason = (
        f"it came back {times} {'time' if times == 1 else 'times'} in {minutes} min and failed again; "
        f"it is watched until {until:%H:%M:%S} UTC"
    )
    return Finding("flapping", Severity.FAILING, reason, "wait, or undrain it", since_s, uuid)
