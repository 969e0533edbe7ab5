"""decide/progress: the sentence and the state that a user sees."""

from dataclasses import replace

from homeport_control.decide.progress import describe, sentence, state_of
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState

WAITING = Replica("a", "run", 0, 1, Wanted.RUN, 0.0)
PLACED = replace(WAITING, host_id="h1")
SERVING = replace(PLACED, phase=Phase.READY, in_rotation=True, first_ready_at_s=1.0)


def test_a_run_is_submitted_until_something_is_placed_and_running_once_something_serves() -> None:
    assert state_of([WAITING]) is RunState.SUBMITTED
    assert state_of([WAITING, PLACED]) is RunState.PROVISIONING
    assert state_of([PLACED, SERVING]) is RunState.RUNNING
    assert state_of([replace(SERVING, ended_at_s=1.0)]) is RunState.SUBMITTED


def test_a_run_that_was_scaled_to_zero_runs_and_says_what_wakes_it() -> None:
    assert state_of([], 0) is RunState.RUNNING
    assert sentence([], 1, 0) == "scaled to zero; the first request starts a replica"
    draining = replace(SERVING, wanted=Wanted.DRAIN, in_rotation=False)
    assert sentence([draining], 1, 0) == "scaled to zero; the first request starts a replica; 1 draining"


def test_a_replica_without_a_host_says_why_no_host_fits() -> None:
    assert describe(replace(WAITING, message="0 of 1 host fit: 1 is cordoned")) == (
        "replica 0 waits for a host: 0 of 1 host fit: 1 is cordoned"
    )
    assert describe(replace(WAITING, message="waiting for a host")) == "replica 0 waits for a host"


def test_a_pull_without_a_known_size_and_probes_are_told_as_they_are() -> None:
    assert describe(replace(PLACED, phase=Phase.PULLING)) == "replica 0 pulls image"
    probing = replace(PLACED, phase=Phase.PROBING, probes_passed=1, probes_total=3, message="connection refused.")
    assert describe(probing) == "replica 0 runs, 1 of 3 probes passed: connection refused"


def test_a_rollout_says_how_far_it_is_and_what_drains() -> None:
    draining = replace(SERVING, id="d", wanted=Wanted.DRAIN, in_rotation=False)
    new = replace(SERVING, id="n", revision=2)
    assert sentence([SERVING, new, draining], revision=2, count=2) == (
        "2 of 2 replicas in rotation; 1 of them of revision 2, which replaces 1; 1 draining"
    )


def test_a_long_list_is_counted() -> None:
    replicas = [replace(PLACED, id=str(number), index=number, phase=Phase.STARTING) for number in range(5)]
    assert sentence(replicas, 1, 5).endswith("replica 2 starts; 2 more are not in rotation")


def test_a_lost_replica_is_told_although_it_does_not_count() -> None:
    assert sentence([replace(SERVING, lost=True)], 1, 1) == (
        "0 of 1 replica in rotation; replica 0 is lost, its host is away"
    )


def test_who_must_leave_is_told_with_why_though_it_serves() -> None:
    text = sentence([SERVING], 1, 1, {SERVING.id: "must leave gpu-1 (the host is drained)"})
    assert text == f"1 of 1 replica in rotation; replica {SERVING.index} must leave gpu-1 (the host is drained)"
    many = [replace(SERVING, id=f"r{index}", index=index) for index in range(5)]
    assert sentence(many, 1, 5, {it.id: "must go" for it in many}).endswith("replica 2 must go; 2 more must leave")


def test_a_refusal_is_told_as_one() -> None:
    refused = replace(SERVING, phase=Phase.FAILED, in_rotation=False, refused=True, message="GPU 3f2a is in use.")
    assert describe(refused) == f"replica {SERVING.index} was refused by its host: GPU 3f2a is in use"
