"""One turn about one run: from what is wanted and what is there to the next instructions. Make before break.

The laws, held by tests/property/test_rollout.py:
- Nothing that serves is drained or stopped while that would leave fewer than `count` serving (invariant 4). Only for the
  replicas of old revisions the file may allow `max_unavailable` fewer: with a surge when a new one finds no host, else at once.
- A new replica stands in for an old one when it serves and was ready for `min_ready_s`. Until one has, the revision is not
  proven: one that falls in that time gives it up.
- At most `count + surge` replicas live that may stay; one that fails, is lost with its host, or must leave its GPU or its
  host (displace) is replaced at once.
- A lost replica is kept until its replacements serve: if its host returns earlier, it serves again. So is one that must
  leave: it goes on where it is until `count` others serve; if it may stay after all, its replacement goes.
- One that its host refused, or that failed where it could not stay, says nothing about the revision or the run.
- A revision of which no replica was ever ready (for `min_ready_s`), and one failed, is given up while an earlier one
  serves; the run fails when there never was one.

Does not cover which host a replica gets (placement), which endpoints a gateway has (routes), or how a replica leaves
(winddown).
"""

import math
from collections.abc import Sequence

from homeport_control.decide.actions import (
    Action,
    CreateReplica,
    DrainReplica,
    EndReplica,
    FinishRun,
    GiveUpRevision,
    Goal,
    Step,
    StopReplica,
)
from homeport_control.decide.progress import plural, sentence, state_of
from homeport_control.decide.replicas import (
    finds_no_host,
    first_to_go,
    free_indexes,
    has_fallen,
    has_stood,
    in_order,
    is_live,
    is_serving,
    last_refusal,
    may_create_at_s,
    was_ready,
)
from homeport_control.decide.winddown import advance, clear, remove, wind_down
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted

__all__ = [
    "Action",
    "CreateReplica",
    "DrainReplica",
    "EndReplica",
    "FinishRun",
    "GiveUpRevision",
    "Goal",
    "Step",
    "StopReplica",
    "step",
]

NO_SURGE = "{max_surge: 0, max_unavailable: 1}"


def step(goal: Goal, replicas: tuple[Replica, ...], now_s: float) -> Step:
    """What to do now about one run.

    `replicas`: all of the run that have not ended, in any order, and those of `goal.revision` that ended in the last
    ten minutes (for the back-off). The caller carries the actions out in one transaction and turns again until there
    are none; it turns again on every change of a replica and at `wake_at_s`, also for finished runs with replicas left.
    """
    replicas = in_order(replicas)
    present = [replica for replica in replicas if replica.ended_at_s is None]
    if goal.finished is not None:
        return clear(goal, present, now_s, goal.finished)
    if goal.wanted is RunWanted.ABORT:
        return wind_down(goal, present, now_s, because="aborted", state=RunState.TERMINATED, at_once=True)
    if goal.wanted is RunWanted.STOP:
        return wind_down(goal, present, now_s, because="stopped", state=RunState.TERMINATED)
    ends_at_s = _ends_at_s(goal)
    if ends_at_s is not None and now_s >= ends_at_s:
        because = f"max_duration_exceeded: max_duration is {goal.max_duration_s:g} s"
        return wind_down(goal, present, now_s, because=because, state=RunState.TERMINATED)

    broken = [replica for replica in present if _is_broken(goal, replica)]
    is_proven = _is_proven(goal, replicas, now_s)
    unproven = [] if is_proven else [replica for replica in broken if not was_ready(replica)]
    fallen = [] if is_proven else [replica for replica in present if _fell_early(goal, replica)]
    give_up: GiveUpRevision | None = None
    if (unproven or fallen) and goal.ever_published and goal.fallback_revision is not None:
        # Also with `retry: false`: what serves is the earlier revision, and none of its replicas failed.
        cause = (unproven or fallen)[0]
        early = "" if unproven else f" before it was ready for min_ready_duration ({goal.min_ready_s:g} s)"
        because = f"revision {goal.revision} was given up: {_failure(cause)}{early}"
        give_up = GiveUpRevision(goal.revision, because, cause.log_tail)
    elif (broken and not goal.retry) or (unproven and not goal.ever_published):
        cause = (unproven or broken)[0]
        return wind_down(
            goal,
            present,
            now_s,
            because=_failure(cause),
            state=RunState.FAILED,
            evidence=broken,
            log_tail=cause.log_tail,
        )
    return _converge(goal, replicas, present, now_s, ends_at_s, give_up)


def _ends_at_s(goal: Goal) -> float | None:
    if goal.max_duration_s is None or goal.running_since_s is None:
        return None
    return goal.running_since_s + goal.max_duration_s


def _is_broken(goal: Goal, replica: Replica) -> bool:
    """It wants to run and will not by itself. Without `retry` a replica whose host is lost is not replaced either.

    One that was refused, or that failed on what is sick or drained, was not to blame: it is only placed anew.
    """
    if replica.wanted is not Wanted.RUN or replica.revision != goal.revision:
        return False
    if replica.refused or replica.id in goal.displaced:
        return False
    return replica.phase is Phase.FAILED or (replica.lost and not goal.retry)


def _is_proven(goal: Goal, replicas: Sequence[Replica], now_s: float) -> bool:
    return goal.revision_proven or any(
        replica.revision == goal.revision and has_stood(replica, goal.min_ready_s, now_s) for replica in replicas
    )


def _fell_early(goal: Goal, replica: Replica) -> bool:
    """Of a revision that is not proven: it was ready, and fell. Not where that says nothing about the revision."""
    if replica.wanted is not Wanted.RUN or replica.revision != goal.revision or replica.refused or replica.lost:
        return False
    return replica.id not in goal.displaced and has_fallen(replica)


def _failure(replica: Replica) -> str:
    what = replica.message or ("its host is lost" if replica.lost else "it failed and its host did not say why")
    return f"replica {replica.index}: {what}"


def _converge(
    goal: Goal,
    replicas: Sequence[Replica],
    present: Sequence[Replica],
    now_s: float,
    ends_at_s: float | None,
    give_up: GiveUpRevision | None,
) -> Step:
    actions: list[Action] = [] if give_up is None else [give_up]
    wakes = [] if ends_at_s is None else [ends_at_s]
    for replica in present:
        action: Action | None = None
        if replica.wanted is not Wanted.RUN:
            action, wake_s = advance(replica, goal.stop_duration_s, now_s)
            if wake_s is not None:
                wakes.append(wake_s)
        elif replica.phase in {Phase.FAILED, Phase.STOPPED} and give_up is None:
            action = remove(replica, goal.stop_duration_s, _why_replaced(goal, replica))
        if action is not None:
            actions.append(action)
    removals = [] if give_up is not None else _removals(goal, present, now_s)
    actions += removals
    if any(isinstance(action, DrainReplica) for action in removals):
        wakes.append(now_s + goal.stop_duration_s)
    wakes += _proof_times_s(goal, present, now_s)
    reason = sentence(replicas, goal.revision, goal.count, goal.displaced) + _lack(goal, present)
    if give_up is not None:
        return Step(
            tuple(actions), state_of(replicas, goal.count), f"{give_up.because}; {reason}", min(wakes, default=None)
        )

    gone = {action.replica_id for action in removals}
    live = [replica for replica in present if _is_settled(goal, replica) and replica.id not in gone]
    new = [replica for replica in live if replica.revision == goal.revision]
    room = goal.count + goal.surge - len(live)
    # What failed where it must leave is not waited for: what hangs on a sick GPU may never be cleared away.
    before = [replica for replica in replicas if replica.id not in goal.displaced]
    because = f"{len(new)} of {goal.count} replicas of revision {goal.revision} are there"
    for index in free_indexes(new, max(0, goal.count - len(new))):
        if room <= 0:
            break
        not_before_s = may_create_at_s(before, goal.revision, index)
        if math.isinf(not_before_s):
            reason += f"; replica {index} is tried again when the failed one is cleared away"
        elif not_before_s > now_s:
            wakes.append(not_before_s)
            reason += f"; replica {index} is tried again in {not_before_s - now_s:.0f} s{_refusal(replicas, index)}"
        else:
            actions.append(CreateReplica(index, goal.revision, because))
        room -= 1
    return Step(tuple(actions), state_of(replicas, goal.count), reason, min(wakes, default=None))


def _is_settled(goal: Goal, replica: Replica) -> bool:
    """It lives, and may go on where it is."""
    return is_live(replica) and replica.id not in goal.displaced


def _why_replaced(goal: Goal, replica: Replica) -> str:
    if replica.refused:
        return f"replica {replica.index} was refused by its host: {replica.message.rstrip('.')}; it is placed anew"
    moved = f" where it {goal.displaced[replica.id]}" if replica.id in goal.displaced else ""
    return f"{_failure(replica)}{moved}; it is replaced"


def _refusal(replicas: Sequence[Replica], index: int) -> str:
    refused = last_refusal(replicas, index)
    return "" if refused is None else f", its last host refused it: {refused.message.rstrip('.')}"


def _proof_times_s(goal: Goal, present: Sequence[Replica], now_s: float) -> list[float]:
    """When each new replica that serves will have stood long enough."""
    return [
        replica.first_ready_at_s + goal.min_ready_s
        for replica in present
        if replica.revision == goal.revision
        and is_serving(replica)
        and replica.first_ready_at_s is not None
        and not has_stood(replica, goal.min_ready_s, now_s)
    ]


def _lack(goal: Goal, present: Sequence[Replica]) -> str:
    """What an update that waits for room could do instead."""
    live = [replica for replica in present if _is_settled(goal, replica)]
    is_update = any(replica.revision != goal.revision for replica in live)
    waits = any(replica.revision == goal.revision and finds_no_host(replica) for replica in live)
    if not is_update or not waits or goal.max_unavailable:
        return ""
    return f"; the update waits for room for one more replica: with `rollout: {NO_SURGE}` in its file an old one would go first"


def _may_go_first(goal: Goal, present: Sequence[Replica], new: Sequence[Replica]) -> int:
    """How many old replicas may go before their successors serve: none beside a surge that finds its hosts."""
    if goal.surge == 0:
        return goal.max_unavailable
    if not goal.max_unavailable:
        return 0
    leaving = sum(replica.wanted is not Wanted.RUN and replica.host_id is not None for replica in present)
    return max(0, sum(map(finds_no_host, new)) - leaving)


def _removals(goal: Goal, present: Sequence[Replica], now_s: float) -> list[DrainReplica | StopReplica | EndReplica]:
    """Those that must leave, old revisions, surplus and lost ones, as far as `count` goes on serving."""
    serving = sum(is_serving(replica) for replica in present)
    chosen: list[tuple[Replica, str]] = []
    for replica in first_to_go(it for it in present if is_live(it) and it.id in goal.displaced):
        if serving - is_serving(replica) >= goal.count:
            serving -= is_serving(replica)
            chosen.append((replica, f"it {goal.displaced[replica.id]}; others serve in its place"))
    live = [replica for replica in present if _is_settled(goal, replica)]
    new = [replica for replica in live if replica.revision == goal.revision]
    old = [replica for replica in live if replica.revision != goal.revision]
    young = sum(is_serving(replica) and not has_stood(replica, goal.min_ready_s, now_s) for replica in new)
    new_serving = sum(is_serving(replica) for replica in new) - young
    old_left = len(old)
    may_go_first = _may_go_first(goal, present, new)
    for replica in first_to_go(old):
        # How many would count without it. One that is not ready counts too: it may come back, and the new revision has not
        # shown yet that it can take its place.
        left = serving - young - 1 if is_serving(replica) else new_serving + old_left - 1
        if was_ready(replica) and left < goal.count:
            if not may_go_first or left < goal.count - goal.max_unavailable:
                continue
            may_go_first -= 1
        serving -= is_serving(replica)
        old_left -= 1
        chosen.append((replica, f"revision {goal.revision} replaces revision {replica.revision}"))
    too_many = max(0, len(new) - goal.count)
    for replica in first_to_go(new, goal.in_flight, goal.warned)[:too_many] if too_many else ():
        serving -= is_serving(replica)  # one that serves is chosen only when more than `count` of them do
        chosen.append((replica, f"{plural(len(new), 'replica')}, wanted {goal.count}"))
    if serving >= goal.count:
        chosen += [
            (replica, "its host is lost and others serve in its place")
            for replica in present
            if replica.lost and replica.wanted is Wanted.RUN and replica.phase not in {Phase.FAILED, Phase.STOPPED}
        ]
    return [remove(replica, goal.stop_duration_s, because) for replica, because in chosen]
