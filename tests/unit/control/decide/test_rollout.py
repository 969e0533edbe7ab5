"""decide/rollout: which replicas are made and which go, and when a revision or a run is given up."""

from dataclasses import replace
from typing import Any

from homeport_control.decide.rollout import (
    CreateReplica,
    DrainReplica,
    EndReplica,
    FinishRun,
    GiveUpRevision,
    Goal,
    StopReplica,
    step,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted

NOW = 1000.0
GOAL = Goal("hello", RunWanted.RUN, revision=1, count=2, stop_duration_s=30.0)
UPDATE = replace(GOAL, revision=2, fallback_revision=1, ever_published=True)


def replica(name: str, index: int = 0, revision: int = 1, phase: Phase = Phase.READY, **values: Any) -> Replica:
    serves = phase is Phase.READY
    defaults: dict[str, Any] = {
        "host_id": "h1",
        "in_rotation": serves,
        "first_ready_at_s": 900.0 if serves else None,
        "wanted": Wanted.RUN,
        "created_at_s": 800.0,
    }
    return Replica(id=name, run_id="run", index=index, revision=revision, phase=phase, **(defaults | values))


def of_type(actions: tuple[Any, ...], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


def test_a_new_run_gets_all_its_replicas_at_once() -> None:
    decided = step(GOAL, (), NOW)
    assert [(action.index, action.revision) for action in of_type(decided.actions, CreateReplica)] == [(0, 1), (1, 1)]
    assert decided.state is RunState.SUBMITTED
    assert decided.reason == "0 of 2 replicas in rotation"


def test_the_reason_says_what_each_replica_that_does_not_serve_is_doing() -> None:
    pulling = replica("b", 1, phase=Phase.PULLING, pulled_bytes=34_000_000, pull_total_bytes=120_000_000)
    decided = step(GOAL, (replica("a"), pulling), NOW)
    assert decided.actions == ()
    assert decided.state is RunState.RUNNING
    assert decided.reason == "1 of 2 replicas in rotation; replica 1 pulls image (34 of 120 MB)"


def test_an_update_adds_one_replica_before_anything_old_goes() -> None:
    decided = step(UPDATE, (replica("a"), replica("b", 1)), NOW)
    assert [type(action) for action in decided.actions] == [CreateReplica]
    assert (decided.actions[0].index, decided.actions[0].revision) == (0, 2)  # type: ignore[union-attr]


def test_an_old_replica_drains_once_a_new_one_is_in_rotation_and_the_next_new_one_follows_in_the_same_turn() -> None:
    decided = step(UPDATE, (replica("a"), replica("b", 1), replica("c", 0, 2)), NOW)
    assert [action.replica_id for action in of_type(decided.actions, DrainReplica)] == ["b"]
    assert [action.index for action in of_type(decided.actions, CreateReplica)] == [1]
    assert decided.wake_at_s == NOW + 30.0


def test_a_new_replica_that_is_ready_but_not_acknowledged_lets_nothing_old_go() -> None:
    unacknowledged = replica("c", 0, 2, in_rotation=False)
    decided = step(UPDATE, (replica("a"), replica("b", 1), unacknowledged), NOW)
    assert decided.actions == ()


def test_an_old_replica_that_was_never_ready_is_stopped_at_once() -> None:
    goal = replace(UPDATE, count=1, ever_published=False)
    decided = step(goal, (replica("a", phase=Phase.STARTING),), NOW)
    assert [action.replica_id for action in of_type(decided.actions, StopReplica)] == ["a"]
    assert len(of_type(decided.actions, CreateReplica)) == 1


def test_an_old_replica_that_is_unready_for_a_while_stays_until_a_new_one_serves() -> None:
    unready = replica("a", phase=Phase.UNREADY, first_ready_at_s=900.0)
    goal = replace(UPDATE, count=1)
    assert step(goal, (unready, replica("b", 0, 2, Phase.STARTING)), NOW).actions == ()
    decided = step(goal, (unready, replica("b", 0, 2)), NOW)
    assert [action.replica_id for action in of_type(decided.actions, StopReplica)] == ["a"]


def test_scaling_down_takes_the_one_that_does_not_serve_before_the_newest_index() -> None:
    starting = replica("a", 0, phase=Phase.PROBING)
    decided = step(GOAL, (starting, replica("b", 1), replica("c", 2)), NOW)
    assert [type(action) for action in decided.actions] == [StopReplica]
    assert decided.actions[0].replica_id == "a"  # type: ignore[union-attr]
    decided = step(GOAL, (replica("a", 0), replica("b", 1), replica("c", 2)), NOW)
    assert [action.replica_id for action in of_type(decided.actions, DrainReplica)] == ["c"]


def test_a_first_deployment_that_fails_ends_the_run_with_its_message_and_its_log_after_the_others_stopped() -> None:
    broken = replica("a", phase=Phase.FAILED, message="exited with code 3 before it was ready", log_tail=("boom",))
    other = replica("b", 1, phase=Phase.STARTING)
    decided = step(GOAL, (broken, other), NOW)
    assert decided.actions == (StopReplica("b", 0.0, "replica 0: exited with code 3 before it was ready"),)
    assert decided.state is RunState.TERMINATING
    decided = step(GOAL, (broken, replace(other, wanted=Wanted.STOP, phase=Phase.STOPPED)), NOW)
    assert decided.actions[-1] == FinishRun(
        RunState.FAILED, "replica 0: exited with code 3 before it was ready", ("boom",)
    )
    assert [type(action) for action in decided.actions] == [EndReplica, StopReplica, FinishRun]


def test_what_is_left_of_a_finished_run_is_cleared_away() -> None:
    goal = replace(GOAL, finished=RunState.FAILED)
    stopping = replica("a", phase=Phase.FAILED, wanted=Wanted.STOP)
    assert step(goal, (stopping,), NOW).actions == ()
    decided = step(goal, (replace(stopping, phase=Phase.STOPPED),), NOW)
    assert [type(action) for action in decided.actions] == [EndReplica]
    assert decided.state is RunState.FAILED


def test_a_later_revision_that_fails_is_given_up_and_what_serves_stays() -> None:
    broken = replica("c", 0, 2, Phase.FAILED, message="image not found", log_tail=("x",))
    decided = step(UPDATE, (replica("a"), replica("b", 1), broken), NOW)
    assert decided.actions == (GiveUpRevision(2, "revision 2 was given up: replica 0: image not found", ("x",)),)
    decided = step(replace(GOAL, ever_published=True), (replica("a"), replica("b", 1), broken), NOW)
    assert [(type(action), action.replica_id) for action in decided.actions] == [(StopReplica, "c")]  # type: ignore[union-attr]


def test_without_retry_a_later_revision_that_fails_is_given_up_too() -> None:
    broken = replica("c", 0, 2, Phase.FAILED)
    decided = step(replace(UPDATE, retry=False), (replica("a"), replica("b", 1), broken), NOW)
    assert [type(action) for action in decided.actions] == [GiveUpRevision]


def test_without_retry_one_failed_replica_drains_the_others_and_fails_the_run() -> None:
    goal = replace(GOAL, retry=False, ever_published=True)
    broken = replica("a", phase=Phase.FAILED, first_ready_at_s=900.0, message="exited with code 1")
    decided = step(goal, (broken, replica("b", 1)), NOW)
    assert [(type(action), action.replica_id) for action in decided.actions] == [(DrainReplica, "b")]  # type: ignore[union-attr]
    decided = step(goal, (broken,), NOW)
    assert of_type(decided.actions, FinishRun)[0].state is RunState.FAILED


def test_a_failed_replica_of_a_proven_revision_is_stopped_and_replaced_when_it_is_gone_with_growing_pauses() -> None:
    goal = replace(GOAL, count=1, ever_published=True, revision_proven=True)
    broken = replica("a", phase=Phase.FAILED)
    decided = step(goal, (broken,), NOW)
    assert [type(action) for action in decided.actions] == [StopReplica]
    stopping = replace(broken, wanted=Wanted.STOP, phase=Phase.STOPPING)
    assert step(goal, (stopping,), NOW).actions == ()
    ended = replace(stopping, phase=Phase.STOPPED, ended_at_s=NOW)
    assert step(goal, (ended,), NOW).wake_at_s == NOW + 1.0
    assert of_type(step(goal, (ended,), NOW + 1.0).actions, CreateReplica)
    again = replace(ended, id="b", ended_at_s=NOW + 5.0)
    decided = step(goal, (ended, again), NOW + 5.0)
    assert decided.wake_at_s == NOW + 7.0
    assert "tried again in 2 s" in decided.reason


def test_a_failed_replica_that_was_ready_is_replaced_at_once() -> None:
    goal = replace(GOAL, count=1, ever_published=True)
    broken = replica("a", phase=Phase.FAILED, first_ready_at_s=900.0)
    decided = step(goal, (broken,), NOW)
    assert [type(action) for action in decided.actions] == [StopReplica, CreateReplica]


def test_a_lost_replica_is_replaced_and_leaves_only_when_its_replacement_serves() -> None:
    goal = replace(GOAL, count=1, ever_published=True)
    lost = replica("a", lost=True)
    assert [type(action) for action in step(goal, (lost,), NOW).actions] == [CreateReplica]
    starting = replica("b", phase=Phase.STARTING)
    assert step(goal, (lost, starting), NOW).actions == ()
    decided = step(goal, (lost, replica("b")), NOW)
    assert [(type(action), action.replica_id) for action in decided.actions] == [(DrainReplica, "a")]  # type: ignore[union-attr]


def test_a_host_that_returns_before_the_replacement_serves_makes_the_replacement_needless() -> None:
    goal = replace(GOAL, count=1, ever_published=True)
    decided = step(goal, (replica("a"), replica("b", phase=Phase.STARTING)), NOW)
    assert [(type(action), action.replica_id) for action in decided.actions] == [(StopReplica, "b")]  # type: ignore[union-attr]


def test_a_run_past_its_max_duration_is_terminated_not_failed() -> None:
    goal = replace(GOAL, count=1, max_duration_s=60.0, running_since_s=NOW - 60.0, ever_published=True)
    assert step(goal, (replica("a"),), NOW - 1.0).wake_at_s == NOW
    assert step(goal, (), NOW).actions == (
        FinishRun(RunState.TERMINATED, "max_duration_exceeded: max_duration is 60 s"),
    )


def test_a_replica_without_a_host_is_ended_not_stopped() -> None:
    waiting = replica("a", phase=Phase.QUEUED, host_id=None)
    decided = step(replace(GOAL, wanted=RunWanted.STOP), (waiting,), NOW)
    assert [type(action) for action in decided.actions] == [EndReplica, FinishRun]
    assert decided.state is RunState.TERMINATED


MUST_LEAVE = "must leave h1 (GPU 3f2a is failing: XID 79)"


def moving(goal: Goal, *replica_ids: str) -> Goal:
    return replace(goal, displaced=dict.fromkeys(replica_ids, MUST_LEAVE))


def test_one_that_must_leave_serves_until_another_does_so_in_its_place() -> None:
    goal = moving(replace(GOAL, ever_published=True), "a")
    decided = step(goal, (replica("a"), replica("b", 1)), NOW)
    assert [(type(it), it.index) for it in decided.actions] == [(CreateReplica, 0)]  # type: ignore[union-attr]
    assert decided.reason == f"2 of 2 replicas in rotation; replica 0 {MUST_LEAVE}"

    new = replica("c", phase=Phase.PROBING, created_at_s=990.0)
    assert step(goal, (replica("a"), replica("b", 1), new), NOW).actions == ()
    ready = replica("c", in_rotation=False, created_at_s=990.0)
    assert step(goal, (replica("a"), replica("b", 1), ready), NOW).actions == (), "no gateway has it yet"

    decided = step(goal, (replica("a"), replica("b", 1), replica("c", created_at_s=990.0)), NOW)
    assert decided.actions == (DrainReplica("a", f"it {MUST_LEAVE}; others serve in its place"),)


def test_without_room_elsewhere_it_goes_on_and_the_reason_says_both() -> None:
    queued = replica(
        "c",
        phase=Phase.QUEUED,
        host_id=None,
        message="0 of 1 hosts fit: 1 needs 1 GPU, 0 of 1 free",
        created_at_s=990.0,
    )
    decided = step(moving(replace(GOAL, count=1), "a"), (replica("a"), queued), NOW)
    assert decided.actions == ()
    assert decided.state is RunState.RUNNING
    assert decided.reason == (
        f"1 of 1 replica in rotation; replica 0 {MUST_LEAVE}; "
        "replica 0 waits for a host: 0 of 1 hosts fit: 1 needs 1 GPU, 0 of 1 free"
    )


def test_when_its_gpu_is_well_again_the_replacement_goes() -> None:
    queued = replica("c", phase=Phase.QUEUED, host_id=None, created_at_s=990.0)
    decided = step(replace(GOAL, count=1), (replica("a"), queued), NOW)
    assert decided.actions == (EndReplica("c", "2 replicas, wanted 1; it had no host yet"),)


def test_all_of_a_drained_host_are_made_anew_at_once_and_leave_one_by_one_as_others_serve() -> None:
    goal = moving(GOAL, "a", "b")
    created = step(goal, (replica("a"), replica("b", 1)), NOW).actions
    assert [it.index for it in of_type(created, CreateReplica)] == [0, 1]
    first = replica("c", created_at_s=990.0)
    later = replica("d", 1, phase=Phase.STARTING, created_at_s=990.0)
    decided = step(goal, (replica("a"), replica("b", 1), first, later), NOW)
    assert [type(it) for it in decided.actions] == [DrainReplica]


def test_without_retry_it_moves_all_the_same_for_it_has_not_failed() -> None:
    goal = moving(replace(GOAL, count=1, retry=False, ever_published=True), "a")
    assert [type(it) for it in step(goal, (replica("a"),), NOW).actions] == [CreateReplica]
    broken = replica("a", phase=Phase.FAILED, in_rotation=False, message="exited with code 1")
    decided = step(goal, (broken,), NOW)
    assert [type(it) for it in decided.actions] == [StopReplica, CreateReplica], "its GPU was to blame"
    assert decided.state is not RunState.FAILED


def test_a_first_revision_that_fails_on_a_sick_gpu_is_not_given_up() -> None:
    broken = replica("a", phase=Phase.FAILED, in_rotation=False, first_ready_at_s=None)
    decided = step(moving(replace(GOAL, count=1), "a"), (broken,), NOW)
    assert [type(it) for it in decided.actions] == [StopReplica, CreateReplica]
    hangs = replace(broken, wanted=Wanted.STOP, stop_grace_s=0.0)
    decided = step(moving(replace(GOAL, count=1), "a"), (hangs,), NOW)
    assert [type(it) for it in decided.actions] == [CreateReplica], "what hangs on a sick GPU is not waited for"


def test_an_update_moves_what_must_leave_into_the_new_revision() -> None:
    goal = moving(replace(UPDATE, count=1), "a")
    assert [it.revision for it in of_type(step(goal, (replica("a"),), NOW).actions, CreateReplica)] == [2]
    decided = step(goal, (replica("a"), replica("c", revision=2)), NOW)
    assert [it.replica_id for it in of_type(decided.actions, DrainReplica)] == ["a"]


def refused(name: str = "a", **values: Any) -> Replica:
    words = "GPU 3f2a (24GB): pid 3123 python3 holds 12.8GB, so it is not free for a replica of its own"
    defaults: dict[str, Any] = {"phase": Phase.FAILED, "refused": True, "message": words, "first_ready_at_s": None}
    return replica(name, **(defaults | values))


def test_a_refused_replica_is_placed_anew_and_is_no_failure_not_even_the_first() -> None:
    for goal in (replace(GOAL, count=1), replace(GOAL, count=1, retry=False)):
        decided = step(goal, (refused(),), NOW)
        (stop,) = decided.actions
        assert isinstance(stop, StopReplica)
        assert "was refused by its host: GPU 3f2a (24GB): pid 3123 python3 holds 12.8GB" in stop.because
        assert decided.state is not RunState.FAILED
        assert "replica 0 was refused by its host: GPU 3f2a" in decided.reason
    update = step(replace(UPDATE, count=1), (replica("old"), refused("new", revision=2)), NOW)
    assert not of_type(update.actions, GiveUpRevision)


def test_a_refused_replica_comes_back_after_a_pause_and_the_reason_tells_why() -> None:
    gone = refused(phase=Phase.STOPPED, wanted=Wanted.STOP, ended_at_s=NOW)
    decided = step(replace(GOAL, count=1), (gone,), NOW + 0.5)
    assert decided.actions == ()
    assert decided.wake_at_s == NOW + 1
    assert "replica 0 is tried again in 0 s, its last host refused it: GPU 3f2a (24GB)" in decided.reason
    assert [type(it) for it in step(replace(GOAL, count=1), (gone,), NOW + 1).actions] == [CreateReplica]


def test_with_no_surge_an_old_one_goes_before_its_successor_comes() -> None:
    goal = replace(UPDATE, surge=0, max_unavailable=1)
    olds = (replica("a"), replica("b", 1))
    decided = step(goal, olds, NOW)
    assert [action.replica_id for action in of_type(decided.actions, DrainReplica)] == ["b"]
    assert [action.index for action in of_type(decided.actions, CreateReplica)] == [0]
    starting = (replica("a"), replica("n", 0, 2, Phase.STARTING))
    assert step(goal, starting, NOW).actions == ()


def test_max_unavailable_is_for_updates_only_not_for_what_must_leave() -> None:
    goal = replace(GOAL, max_unavailable=2, displaced={"a": "must leave"})
    assert not of_type(step(goal, (replica("a"), replica("b", 1)), NOW).actions, DrainReplica)


def test_a_surge_that_finds_no_host_waits_and_says_what_the_file_could_say() -> None:
    waiting = replica("n", 0, 2, Phase.QUEUED, host_id=None, message="no host has a free GPU")
    decided = step(UPDATE, (replica("a"), replica("b", 1), waiting), NOW)
    assert decided.actions == ()
    assert "no host has a free GPU" in decided.reason
    assert decided.reason.endswith(
        "with `rollout: {max_surge: 0, max_unavailable: 1}` in its file an old one would go first"
    )


def test_a_surge_that_finds_no_host_lets_as_many_old_ones_go_as_wait_where_the_file_allows_it() -> None:
    goal = replace(UPDATE, max_unavailable=2)
    old = (replica("a"), replica("b", 1))
    asked = replica("n", 0, 2, Phase.QUEUED, host_id=None, message="waiting for a host")
    assert step(goal, (*old, asked), NOW).actions == (), "nobody has looked for a host yet"
    waiting = replace(asked, message="no host has a free GPU")
    decided = step(goal, (*old, waiting), NOW)
    assert [action.replica_id for action in of_type(decided.actions, DrainReplica)] == ["b"]
    draining = replace(old[1], wanted=Wanted.DRAIN, in_rotation=False, drain_started_at_s=NOW)
    left = (old[0], draining, waiting)
    assert not of_type(step(goal, left, NOW).actions, DrainReplica), "its room comes when that one is gone"


def test_a_new_replica_takes_an_old_ones_place_when_it_was_ready_for_min_ready() -> None:
    goal = replace(UPDATE, count=1, min_ready_s=60.0)
    present = (replica("a"), replica("n", 0, 2, first_ready_at_s=NOW - 59))
    decided = step(goal, present, NOW)
    assert (decided.actions, decided.wake_at_s) == ((), NOW + 1)
    assert [it.replica_id for it in of_type(step(goal, present, NOW + 1).actions, DrainReplica)] == ["a"]


def test_a_revision_that_falls_within_min_ready_is_given_up() -> None:
    goal = replace(UPDATE, count=1, min_ready_s=60.0)
    for phase in (Phase.FAILED, Phase.WAITING, Phase.STARTING):
        fell = replica("n", 0, 2, phase, first_ready_at_s=NOW - 10, restarts=1, message="exited with code 3")
        decided = step(goal, (replica("a"), fell), NOW)
        because = of_type(decided.actions, GiveUpRevision)[0].because
        expected = "replica 0: exited with code 3 before it was ready for min_ready_duration (60 s)"
        assert because == f"revision 2 was given up: {expected}"
        later = replace(fell, first_ready_at_s=NOW - 60)
        assert not of_type(step(goal, (replica("a"), later), NOW).actions, GiveUpRevision), "it has stood"
    assert not of_type(step(goal, (fell,), NOW + 60).actions, GiveUpRevision)


def test_one_that_its_agent_probes_anew_after_the_agent_started_again_has_not_fallen() -> None:
    goal = replace(UPDATE, count=1, min_ready_s=60.0)
    probed = replica("n", 0, 2, Phase.PROBING, first_ready_at_s=NOW - 10)
    assert step(goal, (replica("a"), probed), NOW).actions == ()
