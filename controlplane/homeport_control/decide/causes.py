"""What an action of the runs loop follows from: the last apply or stop, or what happened to a replica by itself.

A replica carries the cause of its last change. Does not cover when a new cause begins (store/replicas.py).
"""

from collections.abc import Sequence

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

_GONE = frozenset({Phase.FAILED, Phase.STOPPED})


def of_action(run: Run, replicas: Sequence[Replica], action: Action) -> str:
    """`replicas`: of the run, those that ended lately included."""
    if run.wanted is not RunWanted.RUN:
        return run.cause_id
    match action:
        case CreateReplica(index, revision, _):  # what took the last one of its place away
            return _of_newest(run, [r for r in replicas if r.index == index and r.revision == revision])
        case DrainReplica(replica_id, _) | StopReplica(replica_id, _, _) | EndReplica(replica_id, _):
            broken = (r for r in replicas if r.id == replica_id and (r.lost or r.phase in _GONE))
            return _of_newest(run, list(broken))
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


def _failed(replicas: Sequence[Replica]) -> list[Replica]:
    return [replica for replica in replicas if replica.ended_at_s is None and replica.phase is Phase.FAILED]


def _of_newest(run: Run, replicas: Sequence[Replica]) -> str:
    newest = max(replicas, key=lambda replica: (replica.created_at_s, replica.id), default=None)
    return (newest.cause_id if newest is not None else "") or run.cause_id
