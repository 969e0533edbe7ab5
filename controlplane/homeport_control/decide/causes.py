"""What an action of the runs loop follows from: the last apply or stop, or what happened to a replica by itself.

A replica carries the cause of its last change; one that must leave its host or its GPU moves because of what happened to
that host. Does not cover when a new cause begins (store/replicas.py).
"""

from collections.abc import Mapping, Sequence

from homeport_control.decide.actions import (
    NOBODY,
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

_GONE = frozenset({Phase.FAILED, Phase.STOPPED})


def of_action(run: Run, replicas: Sequence[Replica], action: Action, moved: Mapping[str, str] = NOBODY) -> str:
    """`replicas`: of the run, those that ended lately included. `moved`: by id of those that must leave, why they must."""
    if run.wanted is not RunWanted.RUN:
        return run.cause_id
    match action:
        case CreateReplica(index, revision, _):  # what took the last one of its place away, unless it was one too many
            before = [r for r in replicas if r.index == index and r.revision == revision]
            return _of_newest(run, [r for r in before if r.id in moved or not _was_let_go(r)], moved)
        case DrainReplica(replica_id, _) | StopReplica(replica_id, _, _) | EndReplica(replica_id, _):
            return _of_newest(run, [r for r in replicas if r.id == replica_id and _has_a_story(r, moved)], moved)
        case GiveUpRevision(_, _, _):
            return _of_newest(run, _failed(replicas))
        case FinishRun(state, _, _):
            return _of_newest(run, _failed(replicas)) if state is RunState.FAILED else run.cause_id


def of_state(run: Run, replicas: Sequence[Replica], state: RunState) -> str:
    """Of a run that comes into another state: what its newest replica in rotation, or out of it, follows from."""
    if run.wanted is not RunWanted.RUN:
        return run.cause_id
    wanted = [replica for replica in replicas if replica.wanted is Wanted.RUN and replica.ended_at_s is None]
    return _of_newest(run, [replica for replica in wanted if replica.in_rotation is (state is RunState.RUNNING)])


def _has_a_story(replica: Replica, moved: Mapping[str, str]) -> bool:
    """Something happened to it, or it is on its way out already: what is done follows from that, not from the last apply."""
    return replica.lost or replica.phase in _GONE or replica.wanted is not Wanted.RUN or replica.id in moved


def _was_let_go(replica: Replica) -> bool:
    """Nothing was wrong with it: fewer were wanted. What failed is stopped without any grace."""
    if replica.lost or replica.refused or replica.phase is Phase.FAILED:
        return False
    if replica.wanted is Wanted.RUN:
        return replica.ended_at_s is not None and replica.host_id is None
    return replica.drain_started_at_s is not None or replica.stop_grace_s > 0


def _failed(replicas: Sequence[Replica]) -> list[Replica]:
    return [replica for replica in replicas if replica.ended_at_s is None and replica.phase is Phase.FAILED]


def _of_newest(run: Run, replicas: Sequence[Replica], moved: Mapping[str, str] = NOBODY) -> str:
    newest = max(replicas, key=lambda replica: (replica.created_at_s, replica.id), default=None)
    if newest is None:
        return run.cause_id
    return moved.get(newest.id) or newest.cause_id or run.cause_id
