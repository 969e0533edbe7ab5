"""decide/causes: what is done for a replica follows from what happened to it, all else from the last apply or stop."""

from dataclasses import replace

import pytest
from homeport_control.decide import causes
from homeport_control.decide.actions import (
    Action,
    CreateReplica,
    DrainReplica,
    EndReplica,
    FinishRun,
    GiveUpRevision,
    StopReplica,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run, RunState, RunWanted

RUN = Run("run1", "web", "ann", RunWanted.RUN, RunState.RUNNING, "", 1.0, None, (), cause_id="apply")


def a_replica(replica_id: str = "r1", cause_id: str = "died", at_s: float = 1.0, **fields: object) -> Replica:
    return replace(Replica(replica_id, "run1", 0, 1, Wanted.RUN, at_s, host_id="h1", cause_id=cause_id), **fields)  # type: ignore[arg-type]


def test_a_replacement_inherits_from_the_newest_of_its_place() -> None:
    older = a_replica("r0", "long-ago", 1.0, ended_at_s=5.0)
    lost = a_replica("r1", "host-away", 10.0, lost=True)
    new = CreateReplica(0, 1, "")
    assert causes.of_action(RUN, (lost, older), new) == "host-away"
    assert causes.of_action(RUN, (lost, older), CreateReplica(1, 1, "")) == "apply"
    assert causes.of_action(RUN, (lost, older), CreateReplica(0, 2, "")) == "apply"
    assert causes.of_action(RUN, (a_replica(cause_id=""),), new) == "apply"


def test_one_that_was_one_too_many_is_no_reason_for_the_next_one_of_its_place() -> None:
    new = CreateReplica(0, 1, "")
    drained = a_replica(wanted=Wanted.STOP, phase=Phase.STOPPED, drain_started_at_s=5.0, ended_at_s=9.0)
    starting = a_replica(wanted=Wanted.STOP, phase=Phase.STOPPED, stop_grace_s=10.0, ended_at_s=9.0)
    unplaced = a_replica(host_id=None, ended_at_s=9.0)
    for gone in (drained, starting, unplaced):
        assert causes.of_action(RUN, (gone,), new) == "apply"
    failed = a_replica(wanted=Wanted.STOP, phase=Phase.STOPPED, ended_at_s=9.0)
    for broken in (failed, a_replica(phase=Phase.STOPPED), replace(drained, lost=True)):
        assert causes.of_action(RUN, (broken,), new) == "died"
    assert causes.of_action(RUN, (drained,), new, {"r1": "xid"}) == "xid"


@pytest.mark.parametrize("action", [DrainReplica("r1", ""), StopReplica("r1", 0.0, ""), EndReplica("r1", "")])
def test_what_is_broken_goes_because_it_broke_and_what_is_well_because_somebody_asked(action: Action) -> None:
    for broken in ({"phase": Phase.FAILED}, {"phase": Phase.STOPPED}, {"lost": True}):
        assert causes.of_action(RUN, (a_replica(**broken),), action) == "died"
    assert causes.of_action(RUN, (a_replica(phase=Phase.READY),), action) == "apply"
    assert causes.of_action(RUN, (a_replica("other", phase=Phase.FAILED),), action) == "apply"


def test_a_run_that_fails_follows_from_the_replica_that_failed() -> None:
    present = (a_replica(phase=Phase.FAILED), a_replica("r2", "fine", 2.0, phase=Phase.READY))
    assert causes.of_action(RUN, present, GiveUpRevision(1, "")) == "died"
    assert causes.of_action(RUN, present, FinishRun(RunState.FAILED, "")) == "died"
    assert causes.of_action(RUN, present, FinishRun(RunState.TERMINATED, "")) == "apply"


def test_a_stop_is_the_cause_of_all_that_is_done_afterwards() -> None:
    stopped = replace(RUN, wanted=RunWanted.STOP, cause_id="stop")
    failed = (a_replica(phase=Phase.FAILED, lost=True),)
    for action in (StopReplica("r1", 0.0, ""), EndReplica("r1", ""), FinishRun(RunState.FAILED, "")):
        assert causes.of_action(stopped, failed, action) == "stop"
    assert causes.of_state(stopped, failed, RunState.TERMINATING) == "stop"


def test_a_run_comes_and_goes_with_its_replicas_in_rotation() -> None:
    serving = a_replica("r1", "back", 1.0, in_rotation=True, phase=Phase.READY)
    away = a_replica("r2", "away", 2.0)
    assert causes.of_state(RUN, (serving, away), RunState.RUNNING) == "back"
    assert causes.of_state(RUN, (serving, away), RunState.PROVISIONING) == "away"
    assert causes.of_state(RUN, (), RunState.SUBMITTED) == "apply"


def test_who_moves_does_so_for_what_happened_to_its_host() -> None:
    serving, moved = a_replica(cause_id="apply-of-then", phase=Phase.READY), {"r1": "xid"}
    for action in (CreateReplica(0, 1, ""), DrainReplica("r1", ""), StopReplica("r1", 0.0, "")):
        assert causes.of_action(RUN, (serving,), action, moved) == "xid"
    assert causes.of_action(RUN, (serving,), CreateReplica(1, 1, ""), moved) == "apply"
    assert causes.of_action(RUN, (serving,), DrainReplica("r1", ""), {"r1": ""}) == "apply-of-then"


def test_one_on_its_way_out_goes_on_with_the_story_that_made_it_go() -> None:
    draining = a_replica(cause_id="xid", phase=Phase.READY, wanted=Wanted.DRAIN)
    assert causes.of_action(RUN, (draining,), StopReplica("r1", 9.0, "")) == "xid"
