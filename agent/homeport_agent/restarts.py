"""PURE: when a container that ended is started again, and when the agent gives it up.

Covers back-off and giving up. Does not cover how a death is noticed (runner) nor what follows (replica).
"""

from dataclasses import dataclass, replace

from homeport_agent.model import History

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
HEALTHY_AFTER_S = 600.0  # ready for this long: the next failure counts as the first
EXITS_BEFORE_READY = 3
PULLS_BEFORE_READY = 5  # of a registry that cannot be reached: 15 s, so that a wrong name ends while the user watches


@dataclass(frozen=True, slots=True)
class StartAgain:
    delay_s: float
    history: History


@dataclass(frozen=True, slots=True)
class GiveUp:
    because: str
    history: History


def delay_s(failures: int) -> float:
    """Seconds before the start that follows the `failures`-th failure in a row (1 is the first)."""
    # min() on the exponent too: 2 ** 2000 seconds is no float
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 20)))


def forgiven(history: History, ready_for_s: float | None) -> History:
    """After a long time of health the next failure counts as the first."""
    return replace(history, failures=0) if ready_for_s is not None and ready_for_s >= HEALTHY_AFTER_S else history


def patience_s(failures: int, least_s: float) -> float:
    """Seconds for which what runs and does not answer is left alone before it is started again: `least_s` at first.

    Twice as long after each failure in a row: it may come to itself, and a start costs more than the wait.
    """
    return max(least_s, min(LONGEST_DELAY_S, least_s * 2.0 ** min(failures, 20)))


def after_failure(
    history: History, what: str, *, retry: bool, ready_for_s: float | None, tries: int
) -> StartAgain | GiveUp:
    """Judge one failure of a replica.

    what: the sentence about this failure ("exited with code 1").
    ready_for_s: how long it had been ready, None when it was not.
    tries: the failures that end a first start when this is one of them; 0: only its time ends it (Docker is away).
    """
    history = forgiven(history, ready_for_s)
    history = replace(history, failures=history.failures + 1)
    if not history.was_ready and tries:
        history = replace(history, exits=history.exits + 1)
    if not retry:
        return GiveUp(f"{what}; not started again (retry is false)", history)
    if not history.was_ready and tries and history.exits >= tries:
        return GiveUp(f"{what}; failed {history.exits} times before it was ever ready: given up", history)
    return StartAgain(delay_s(history.failures), history)
