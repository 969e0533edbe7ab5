"""How a replica leaves, and how a whole run does: drain, SIGTERM, SIGKILL, end.

Pure. Does not decide which replica leaves (rollout); it decides only how.

    RUN ──in a gateway──▶ DRAIN ──no requests, or stop_duration──▶ STOP ──STOPPED──▶ ended
     └──never reachable──────────────────────────────────────────────▲
"""

from collections.abc import Collection, Sequence

from homeport_control.decide.actions import (
    Action,
    DrainReplica,
    EndReplica,
    FinishRun,
    Goal,
    Step,
    StopReplica,
)
from homeport_control.decide.progress import plural
from homeport_control.decide.replicas import may_have_requests, was_ready
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState

LEAST_GRACE_S = 5.0  # after a drain that took the whole stop_duration a process still gets this long for its SIGTERM
UNREADY_GRACE_S = 10.0  # what `docker stop` gives; nobody waits for an answer of a replica that was never ready


def remove(
    replica: Replica, stop_duration_s: float, because: str, *, unready_grace_s: float = UNREADY_GRACE_S
) -> DrainReplica | StopReplica | EndReplica:
    """The first step out for a replica that wants to run."""
    if replica.host_id is None:
        return EndReplica(replica.id, f"{because}; it had no host yet")
    if replica.phase is Phase.STOPPED:
        return EndReplica(replica.id, f"{because}; it has stopped already")
    if replica.phase is Phase.FAILED:
        return StopReplica(replica.id, 0.0, because)
    if may_have_requests(replica):
        return DrainReplica(replica.id, because)
    if was_ready(replica):  # out of rotation, but requests of before may still be in flight
        return StopReplica(replica.id, stop_duration_s, because)
    return StopReplica(replica.id, min(unready_grace_s, stop_duration_s), because)


def advance(replica: Replica, stop_duration_s: float, now_s: float) -> tuple[Action | None, float | None]:
    """The next step of a replica that is on its way out, and when it is due if it is not now."""
    if replica.host_id is None or replica.phase is Phase.STOPPED:
        return EndReplica(replica.id, "it has stopped" if replica.host_id else "it never had a host"), None
    if replica.wanted is Wanted.STOP:
        return None, None
    if replica.phase is Phase.FAILED:
        return StopReplica(replica.id, 0.0, "it failed while it was draining"), None
    if replica.phase is Phase.WAITING and replica.exit_code is not None:
        # As on a host whose power was lost: its agent would start it again, only to end it. (An agent that has just started
        # says "waiting" too, of what may well run, but knows of no end of it.)
        return StopReplica(replica.id, 0.0, "its program ended while it was draining"), None
    started_s = replica.drain_started_at_s
    left_s = stop_duration_s if started_s is None else max(0.0, started_s + stop_duration_s - now_s)
    grace_s = max(left_s, min(LEAST_GRACE_S, stop_duration_s))
    if replica.drained_at_s is not None:
        return StopReplica(replica.id, grace_s, "drained: no requests in flight"), None
    if started_s is not None and now_s >= started_s + stop_duration_s:
        return StopReplica(replica.id, grace_s, f"not drained within stop_duration ({stop_duration_s:g} s)"), None
    return None, None if started_s is None else started_s + stop_duration_s


def abort(replica: Replica, because: str) -> Action | None:
    """SIGKILL now, whatever it is doing."""
    if replica.host_id is None or replica.phase is Phase.STOPPED:
        return EndReplica(replica.id, because)
    if replica.wanted is Wanted.STOP and replica.stop_grace_s == 0.0:
        return None
    return StopReplica(replica.id, 0.0, because)


def wind_down(
    goal: Goal,
    replicas: Sequence[Replica],
    now_s: float,
    *,
    because: str,
    state: RunState,
    at_once: bool = False,
    evidence: Collection[Replica] = (),
    log_tail: tuple[str, ...] = (),
) -> Step:
    """One step of ending a whole run in `state`.

    Evidence: failed replicas are what says that the run failed, so they stay as they are until all others have ended,
    and are stopped together with FinishRun; a server that is killed in between comes to the same end.
    """
    kept = {replica.id for replica in evidence}
    unready_grace_s = 0.0 if state is RunState.FAILED else UNREADY_GRACE_S
    actions: list[Action] = []
    wakes: list[float] = []
    left: list[Replica] = []
    for replica in replicas:
        if replica.ended_at_s is not None or replica.id in kept:
            continue
        action: Action | None
        wake_s = None
        if at_once:
            action = abort(replica, because)
        elif replica.wanted is Wanted.RUN:
            action = remove(replica, goal.stop_duration_s, because, unready_grace_s=unready_grace_s)
            if isinstance(action, DrainReplica):
                wake_s = now_s + goal.stop_duration_s
        else:
            action, wake_s = advance(replica, goal.stop_duration_s, now_s)
        if action is not None:
            actions.append(action)
        if wake_s is not None:
            wakes.append(wake_s)
        if not isinstance(action, EndReplica):
            stopping = replica.wanted is Wanted.STOP or isinstance(action, StopReplica)
            left.append(replica)
            if not (replica.lost and stopping):
                kept.add(replica.id)  # it must still end before the run does
    waiting = [replica for replica in left if replica.id in kept]
    if waiting:
        draining = sum(
            replica.wanted is Wanted.DRAIN
            or any(isinstance(action, DrainReplica) and action.replica_id == replica.id for action in actions)
            for replica in waiting
        )
        reason = f"{because}; {draining} draining, {len(waiting) - draining} stopping"
        return Step(tuple(actions), RunState.TERMINATING, reason, min(wakes, default=None))
    reason = because
    if left:
        reason += f"; {plural(len(left), 'replica')} on hosts that are away, to be stopped when these return"
    actions += [StopReplica(replica.id, 0.0, because) for replica in evidence]
    actions.append(FinishRun(state, reason, log_tail))
    return Step(tuple(actions), state, reason)


def clear(goal: Goal, replicas: Sequence[Replica], now_s: float, finished: RunState) -> Step:
    """What is left of a run that has ended: replicas whose hosts were away, the failed one that ended it."""
    step = wind_down(goal, replicas, now_s, because="the run has ended", state=finished)
    actions = tuple(action for action in step.actions if not isinstance(action, FinishRun))
    return Step(actions, finished, step.reason, step.wake_at_s)
