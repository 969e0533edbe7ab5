"""decide/winddown: drain, SIGTERM with what is left of stop_duration, SIGKILL, end."""

from dataclasses import replace
from typing import Any

from homeport_control.decide.actions import DrainReplica, EndReplica, FinishRun, Goal, StopReplica
from homeport_control.decide.winddown import abort, advance, remove, wind_down
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted

NOW = 1000.0
GOAL = Goal("hello", RunWanted.STOP, revision=1, count=1, stop_duration_s=30.0)
SERVING = Replica(
    "a", "run", 0, 1, Wanted.RUN, 900.0, host_id="h1", phase=Phase.READY, in_rotation=True, first_ready_at_s=950.0
)
DRAINING = replace(SERVING, wanted=Wanted.DRAIN, in_rotation=False, drain_started_at_s=NOW)


def stop(**values: Any) -> Any:
    return wind_down(GOAL, [replace(SERVING, **values)], NOW, because="stopped", state=RunState.TERMINATED)


def test_what_a_gateway_may_know_is_drained_before_it_is_stopped() -> None:
    assert remove(SERVING, 30.0, "x") == DrainReplica("a", "x")
    assert remove(replace(SERVING, in_rotation=False), 30.0, "x") == DrainReplica("a", "x")


def test_what_was_never_ready_gets_a_short_grace_and_what_failed_none() -> None:
    starting = replace(SERVING, phase=Phase.STARTING, in_rotation=False, first_ready_at_s=None)
    assert remove(starting, 30.0, "x") == StopReplica("a", 10.0, "x")
    assert remove(starting, 3.0, "x") == StopReplica("a", 3.0, "x")
    assert remove(replace(starting, phase=Phase.FAILED), 30.0, "x") == StopReplica("a", 0.0, "x")


def test_what_went_out_of_rotation_by_itself_still_gets_all_of_stop_duration() -> None:
    assert remove(replace(SERVING, phase=Phase.UNREADY, in_rotation=False), 30.0, "x") == StopReplica("a", 30.0, "x")


def test_a_drained_replica_is_stopped_with_what_is_left_of_stop_duration() -> None:
    action, wake_s = advance(replace(DRAINING, drained_at_s=NOW + 8.0), 30.0, NOW + 10.0)
    assert action == StopReplica("a", 20.0, "drained: no requests in flight")
    assert wake_s is None


def test_a_replica_that_does_not_drain_waits_until_stop_duration_ends_and_then_gets_a_last_grace() -> None:
    assert advance(DRAINING, 30.0, NOW + 29.0) == (None, NOW + 30.0)
    action, _ = advance(DRAINING, 30.0, NOW + 30.0)
    assert action == StopReplica("a", 5.0, "not drained within stop_duration (30 s)")


def test_a_replica_that_fails_while_it_drains_is_stopped_without_waiting() -> None:
    assert advance(replace(DRAINING, phase=Phase.FAILED), 30.0, NOW)[0] == StopReplica(
        "a", 0.0, "it failed while it was draining"
    )


def test_a_replica_whose_program_ended_while_it_drains_is_not_started_again_to_be_drained() -> None:
    ended = replace(DRAINING, phase=Phase.WAITING, exit_code=137)
    assert advance(ended, 30.0, NOW)[0] == StopReplica("a", 0.0, "its program ended while it was draining")
    # An agent that has not looked at its containers yet: this one may run, with requests in flight.
    assert advance(replace(ended, exit_code=None), 30.0, NOW) == (None, NOW + 30.0)


def test_a_stopped_replica_ends_and_one_that_is_still_stopping_is_waited_for() -> None:
    stopping = replace(SERVING, wanted=Wanted.STOP, phase=Phase.STOPPING)
    assert advance(stopping, 30.0, NOW) == (None, None)
    assert isinstance(advance(replace(stopping, phase=Phase.STOPPED), 30.0, NOW)[0], EndReplica)


def test_an_abort_kills_what_is_stopping_gently_and_says_it_once() -> None:
    gentle = replace(SERVING, wanted=Wanted.STOP, stop_grace_s=30.0)
    assert abort(gentle, "aborted") == StopReplica("a", 0.0, "aborted")
    assert abort(replace(gentle, stop_grace_s=0.0), "aborted") is None
    assert abort(SERVING, "aborted") == StopReplica("a", 0.0, "aborted")


def test_a_run_that_stops_says_what_it_waits_for_and_until_when() -> None:
    step = stop()
    assert step.state is RunState.TERMINATING
    assert step.reason == "stopped; 1 draining, 0 stopping"
    assert step.wake_at_s == NOW + 30.0


def test_a_run_finishes_in_the_turn_in_which_its_last_replica_ends() -> None:
    step = stop(wanted=Wanted.STOP, phase=Phase.STOPPED)
    assert [type(action) for action in step.actions] == [EndReplica, FinishRun]


def test_a_run_does_not_wait_for_hosts_that_are_lost_and_says_so() -> None:
    step = stop(wanted=Wanted.STOP, lost=True)
    assert step.actions == (
        FinishRun(RunState.TERMINATED, "stopped; 1 replica on hosts that are away, to be stopped when these return"),
    )
    assert [type(action) for action in stop(wanted=Wanted.STOP, lost=False).actions] == []
