"""decide/hold: who goes on, who waits, who is refused and with what; what a run and its replicas mean for those who wait."""

from dataclasses import replace
from typing import Any

import pytest
from homeport_control.decide.hold import DEFAULT_START_S, NO_HOST_S, Limits, cold_start_s, outlook, verdict
from homeport_control.domain.holding import UNKNOWN, GoOn, Outlook, Refusal, Verdict, Wait
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Revision, Run, RunState, RunWanted

NOW = 1000.0
LIMITS = Limits(most=3, longest_s=600.0)
REVISION = Revision("run", 1, "{}", 0.0)
RUN = Run("run", "llm", "ann", RunWanted.RUN, RunState.RUNNING, "", 0.0, None, (REVISION,))
STARTING = Replica("r", "run", 0, 1, Wanted.RUN, NOW - 5, host_id="h1", phase=Phase.STARTING)
FAILED = replace(
    STARTING, id="f", phase=Phase.FAILED, message="exited with code 1: no such model.", created_at_s=NOW - 9
)
ENDED = replace(FAILED, wanted=Wanted.STOP, ended_at_s=NOW - 3)


def judged(since_s: float = NOW, others: int = 0, known: Outlook = UNKNOWN, *, in_rotation: bool = False) -> Verdict:
    return verdict("llm", since_s, others, known, NOW, in_rotation=in_rotation, limits=LIMITS)


def refusal(**values: Any) -> Refusal:
    found = judged(**values)
    assert isinstance(found, Refusal)
    return found


def test_who_comes_waits_for_as_long_as_it_may() -> None:
    assert judged(others=2) == Wait(NOW + 600)
    assert judged(NOW - 599) == Wait(NOW + 1)


def test_with_a_replica_in_rotation_everybody_goes_on_whatever_was_known() -> None:
    for known in (UNKNOWN, Outlook(hopeless="x"), Outlook(failure="x", failed_at_s=NOW)):
        assert judged(NOW - 700, 9, known, in_rotation=True) == GoOn()


def test_beyond_the_bound_the_median_of_the_starts_says_when_to_come_again() -> None:
    assert refusal(others=3) == Refusal(
        "3 requests wait for a first replica of llm already; try again when it is there.",
        "too_many_held",
        int(DEFAULT_START_S),
    )
    assert refusal(others=3, known=Outlook(cold_start_s=12.2)).retry_after_s == 13
    assert refusal(others=3, known=Outlook(cold_start_s=0.0)).retry_after_s == 1


def test_nobody_waits_longer_than_the_limit() -> None:
    found = refusal(since_s=NOW - 600)
    assert found.message == "No replica of llm was ready within 600 s, the longest that a request is held."
    assert (found.code, found.retry_after_s) == ("held_too_long", 30)


def test_without_hope_nobody_is_held_and_nobody_is_told_to_come_again() -> None:
    found = refusal(known=Outlook(hopeless="it was stopped"))
    assert found == Refusal("No replica of llm will come: it was stopped.", "service_not_running", None)


def test_a_failed_start_is_said_to_those_who_waited_for_it_and_the_next_one_is_waited_for() -> None:
    known = Outlook(10.0, failure="replica 0: exited", failed_at_s=NOW - 2, next_start_s=NOW + 4)
    assert refusal(since_s=NOW - 2, known=known) == Refusal(
        "No replica of llm could start: replica 0: exited.", "start_failed", 14
    )
    assert judged(NOW - 1, known=known) == Wait(NOW + 599)


def test_a_next_start_that_is_far_away_is_not_waited_for() -> None:
    known = Outlook(10.0, failure="replica 0: exited", failed_at_s=NOW - 2, next_start_s=NOW + 100)
    assert refusal(since_s=NOW - 1, known=known).retry_after_s == 110


def test_a_replica_on_its_way_is_hope() -> None:
    assert outlook(RUN, [STARTING], NOW) == (UNKNOWN, None)
    assert outlook(RUN, [], NOW) == (UNKNOWN, None)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (None, "there is no such service"),
        (
            replace(RUN, state=RunState.FAILED, reason="replica 0: exited with code 1.", ended_at_s=NOW),
            "it has failed: replica 0: exited with code 1",
        ),
        (replace(RUN, state=RunState.TERMINATED, reason="stopped", ended_at_s=NOW), "it has terminated: stopped"),
        (replace(RUN, wanted=RunWanted.STOP), "it is being stopped"),
        (replace(RUN, wanted=RunWanted.ABORT), "it is being stopped"),
    ],
)
def test_of_a_run_that_ends_nothing_comes(run: Run | None, sentence: str) -> None:
    assert outlook(run, [STARTING], NOW)[0].hopeless == sentence


def test_a_replica_that_failed_is_said_in_its_own_words() -> None:
    known, _ = outlook(RUN, [FAILED], NOW)
    assert (known.failure, known.failed_at_s) == ("replica 0: exited with code 1: no such model", NOW)
    assert outlook(RUN, [replace(FAILED, message="")], NOW)[0].failure == (
        "replica 0: it failed and its host did not say why"
    )


def test_once_it_is_cleared_away_the_next_try_is_known() -> None:
    known, _ = outlook(RUN, [ENDED], NOW)
    assert (known.failed_at_s, known.next_start_s) == (NOW - 3, NOW - 2)
    known, _ = outlook(RUN, [ENDED, replace(STARTING, created_at_s=NOW - 2)], NOW)
    assert (known.failed_at_s, known.next_start_s) == (NOW - 3, 0.0)


def test_a_failure_from_before_a_good_start_is_forgotten() -> None:
    good = replace(STARTING, phase=Phase.STOPPED, first_ready_at_s=NOW - 1, wanted=Wanted.STOP, ended_at_s=NOW)
    assert not outlook(RUN, [ENDED, good], NOW)[0].failure
    assert outlook(RUN, [replace(ENDED, created_at_s=NOW), good], NOW)[0].failure


def test_what_says_nothing_of_the_revision_is_no_failure() -> None:
    refused = replace(FAILED, refused=True)
    older = replace(FAILED, revision=1)
    newer = replace(RUN, revisions=(REVISION, replace(REVISION, number=2)))
    assert not outlook(RUN, [refused], NOW)[0].failure
    assert not outlook(newer, [older], NOW)[0].failure
    given_up = replace(RUN, revisions=(REVISION, replace(REVISION, number=2, failed="it never got ready")))
    assert outlook(given_up, [older], NOW)[0].failure


def test_what_finds_no_host_is_waited_for_for_a_while_and_then_said() -> None:
    waiting = replace(STARTING, host_id=None, phase=Phase.QUEUED, message="2 hosts have no free GPU", created_at_s=NOW)
    assert outlook(RUN, [waiting], NOW) == (UNKNOWN, NOW + NO_HOST_S)
    later_s = NOW + NO_HOST_S
    known, _ = outlook(RUN, [waiting], later_s)
    assert known.failure == "it has found no host for 120 s: 2 hosts have no free GPU"
    found = verdict("llm", later_s, 0, known, later_s, in_rotation=False)
    assert isinstance(found, Refusal), "not even who comes now"
    assert found.retry_after_s == 90
    assert not outlook(RUN, [waiting, STARTING], later_s)[0].failure
    assert outlook(RUN, [waiting], later_s, machine_comes=True) == (UNKNOWN, None)


def test_a_start_is_measured_from_creation_to_ready() -> None:
    def start(number: int, seconds: float | None) -> Replica:
        created_s = float(number)
        ready_s = None if seconds is None else created_s + seconds
        return replace(STARTING, id=str(number), created_at_s=created_s, first_ready_at_s=ready_s)

    assert cold_start_s([]) is None
    assert cold_start_s([start(1, None)]) is None
    assert cold_start_s([start(1, 4), start(2, None), start(3, 9), start(4, 5)]) == 5
    slow_once = [start(number, 100) for number in range(1, 4)]
    assert cold_start_s([*[start(number, 2) for number in range(4, 9)], *slow_once]) == 2
