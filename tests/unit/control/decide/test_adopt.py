from typing import Any

from homeport_control.decide.adopt import adopted, candidates
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Revision, Run, RunState, RunWanted


def a_run(revisions: int, failed: tuple[int, ...] = ()) -> Run:
    all_of_them = tuple(
        Revision("run", number, "{}", 1.0, failed="why" if number in failed else "")
        for number in range(1, revisions + 1)
    )
    return Run("run", "hello", "alice", RunWanted.RUN, RunState.RUNNING, "", 1.0, None, all_of_them)


def a_replica(name: str, revision: int = 1, wanted: Wanted = Wanted.RUN, **fields: Any) -> Replica:
    return Replica(name, "run", 0, revision, wanted, 1.0, **fields)


def test_what_runs_and_what_is_about_to_is_held_against_the_new_one() -> None:
    assert candidates(a_run(1), []) == (1,)
    assert candidates(a_run(3), [a_replica("a", 1)]) == (3, 1)
    assert candidates(a_run(3), [a_replica("a", 1), a_replica("b", 2), a_replica("c", 2)]) == (3, 2, 1)
    assert candidates(a_run(3), [a_replica("a", 2, ended_at_s=5.0)]) == (3,)


def test_a_revision_that_was_given_up_is_not() -> None:
    assert candidates(a_run(3, failed=(3,)), [a_replica("a", 3), a_replica("b", 1)]) == (2, 1)
    assert candidates(a_run(1, failed=(1,)), [a_replica("a", 1)]) == ()


def test_what_runs_goes_on_in_every_phase_of_a_good_life() -> None:
    good = [phase for phase in Phase if phase not in {Phase.FAILED, Phase.STOPPED}]
    replicas = [a_replica(phase, phase=phase) for phase in good]
    assert adopted(replicas, 1) == tuple(replicas)
    assert adopted([a_replica("lost", lost=True)], 1) == (a_replica("lost", lost=True),)


def test_what_failed_or_is_on_its_way_out_or_is_another_revisions_does_not() -> None:
    replicas = [
        a_replica("failed", phase=Phase.FAILED),
        a_replica("stopped", phase=Phase.STOPPED),
        a_replica("draining", wanted=Wanted.DRAIN, phase=Phase.READY),
        a_replica("stopping", wanted=Wanted.STOP, phase=Phase.STOPPING),
        a_replica("ended", ended_at_s=5.0),
        a_replica("another", 2, phase=Phase.READY),
    ]
    assert adopted(replicas, 1) == ()
