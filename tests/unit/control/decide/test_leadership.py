"""decide/leadership: one sentence for each thing that a look can find."""

import pytest
from homeport_control.decide.leadership import (
    GIVE_UP_S,
    STALE_S,
    Decision,
    Follow,
    Lead,
    Renew,
    StepDown,
    decide,
    still_leads,
)
from homeport_control.domain.leadership import NOBODY, Lease

NOW_S = 1000.0


def lease(server: str = "a1", term: int = 4, silent_s: float = 0.5) -> Lease:
    return Lease(term, server, "alpha", "10.0.0.1:7401", NOW_S - 60, NOW_S - silent_s)


@pytest.mark.parametrize(
    ("seen", "held_term", "has_lock", "decision"),
    [
        (NOBODY, 0, True, Lead(1, "it is the first")),
        (NOBODY, 0, False, Follow("another one is about to be the first")),
        (lease(), 0, False, Follow("alpha leads with term 4")),
        (lease(), 0, True, Lead(5, "alpha has ended: its lock is free")),
        (lease(silent_s=STALE_S), 0, False, Lead(5, f"alpha has not been heard for {STALE_S} s")),
        (lease(server=""), 0, False, Lead(5, "alpha let go of term 4")),
        (lease(server="me"), 0, True, Lead(5, "it led before, and reaches the database again")),
        (lease(server="me"), 4, True, Renew(4)),
        (lease(server="me", silent_s=60), 4, False, Renew(4)),  # nobody took it meanwhile
        (lease(), 4, True, StepDown("alpha took term 4")),
        (lease(term=5, server="me"), 4, True, StepDown("alpha took term 5")),
    ],
)
def test_what_is_done(seen: Lease, held_term: int, has_lock: bool, decision: Decision) -> None:
    assert decide(seen, "me", held_term, has_lock=has_lock, now_s=NOW_S) == decision


def test_who_cannot_ask_the_database_leads_on_for_a_while_and_no_longer() -> None:
    assert still_leads(10.0, 10.0 + GIVE_UP_S - 0.1) is None
    assert still_leads(10.0, 10.0 + GIVE_UP_S) == StepDown(f"the database could not be told for {GIVE_UP_S} s")


def test_a_leader_steps_down_before_another_one_declares_its_hosts_lost() -> None:
    """A host that still talks to it is lost to the next leader LOST_AFTER_S after that one's begin."""
    from homeport_control.decide.liveness import LOST_AFTER_S

    assert GIVE_UP_S + 3 < STALE_S + LOST_AFTER_S
