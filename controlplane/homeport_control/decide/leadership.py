"""Who leads: what a server does when it has looked at the lease.

Pure. The row is the truth: who leads is who holds its term, and every write of a leader checks that in its own transaction
(store/leadership.py). The lock says only that the leader's process is alive: the database lets go of it in the moment that its
connection ends, so nobody waits for a heartbeat of a process that was killed. Neither rests on the clock of a server.

    follows ── the lock is free, or no heartbeat for STALE_S ──▶ takes the next term ── another was first ──▶ follows
    leads ── the term is another's, or no heartbeat could be written for GIVE_UP_S ──▶ steps down ──▶ follows
"""

from dataclasses import dataclass

from homeport_control.domain.leadership import Lease

RENEW_EVERY_S = 1.0
LOOK_EVERY_S = 0.5  # of those that follow
STALE_S = 3.0  # without a heartbeat for this long: whoever sees it takes the next term
GIVE_UP_S = (
    5.0  # a leader that could not write one for this long says that it leads no more; it could not write anything else
)


@dataclass(frozen=True, slots=True)
class Lead:
    """Take this term, unless another was first."""

    term: int
    because: str


@dataclass(frozen=True, slots=True)
class Renew:
    term: int


@dataclass(frozen=True, slots=True)
class Follow:
    because: str


@dataclass(frozen=True, slots=True)
class StepDown:
    because: str


Decision = Lead | Renew | Follow | StepDown


def decide(seen: Lease, server: str, held_term: int, *, has_lock: bool, now_s: float) -> Decision:
    """What `server` does that holds `held_term` (0: none) and has the lock, or not. `now_s` by the clock of the database."""
    if held_term:
        if (seen.term, seen.server) == (held_term, server):
            return Renew(held_term)
        return StepDown(f"{seen.name or 'another server'} took term {seen.term}")
    silent_s = now_s - seen.renewed_at_s
    if not seen.term:
        return Lead(1, "it is the first") if has_lock else Follow("another one is about to be the first")
    if not seen.server:
        because = f"{seen.name} let go of term {seen.term}"
    elif has_lock and seen.server == server:
        because = "it led before, and reaches the database again"
    elif has_lock:
        because = f"{seen.name} has ended: its lock is free"
    elif silent_s >= STALE_S:
        because = f"{seen.name} has not been heard for {silent_s:.1f} s"
    else:
        return Follow(f"{seen.name} leads with term {seen.term}")
    return Lead(seen.term + 1, because)


def still_leads(renewed_s: float, now_s: float) -> StepDown | None:
    """Of one that cannot ask the database: by when its last heartbeat was sent (both by one monotonic clock)."""
    silent_s = now_s - renewed_s
    return None if silent_s < GIVE_UP_S else StepDown(f"the database could not be told for {silent_s:.1f} s")
