"""The sentence and the state that a user sees of a run.

"2 of 3 replicas in rotation; replica 1 pulls image (34 of 120 MB)".

Pure text from values. Decides nothing about replicas.
"""

from collections.abc import Mapping, Sequence

from homeport_control.decide.actions import NOBODY
from homeport_control.decide.replicas import WAITING_FOR_HOST, in_order, is_live, is_serving
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState

SHOWN = 3  # details in one sentence; the rest is counted
MEGABYTE = 1_000_000


def state_of(replicas: Sequence[Replica]) -> RunState:
    """Of a run that is wanted: SUBMITTED, PROVISIONING or RUNNING."""
    present = [replica for replica in replicas if replica.ended_at_s is None]
    if any(replica.in_rotation for replica in present):
        return RunState.RUNNING
    if any(replica.host_id is not None for replica in present):
        return RunState.PROVISIONING
    return RunState.SUBMITTED


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe(replica: Replica) -> str:
    """What one replica is doing, without its message's full stop: "replica 1 pulls image (34 of 120 MB)"."""
    return f"replica {replica.index} {_doing(replica)}{_message(replica)}"


def _doing(replica: Replica) -> str:
    if replica.lost:
        return "is lost, its host is away"
    if replica.host_id is None:
        return "waits for a host"
    match replica.phase:
        case Phase.QUEUED:
            return "waits for its host's answer"
        case Phase.WAITING:
            return "waits"
        case Phase.PULLING:
            if not replica.pull_total_bytes:
                return "pulls image"
            done, total = replica.pulled_bytes // MEGABYTE, -(-replica.pull_total_bytes // MEGABYTE)
            return f"pulls image ({done} of {total} MB)"
        case Phase.STARTING:
            return "starts"
        case Phase.PROBING:
            return f"runs, {replica.probes_passed} of {replica.probes_total} probes passed"
        case Phase.READY:
            return "is in rotation" if replica.in_rotation else "is ready, not in rotation yet"
        case Phase.UNREADY:
            return "is not ready"
        case Phase.STOPPING:
            return "stops"
        case Phase.STOPPED:
            return "has stopped"
        case Phase.FAILED:
            return "was refused by its host" if replica.refused else "failed"


def _message(replica: Replica) -> str:
    silent = {Phase.READY, Phase.PULLING, Phase.STOPPED}  # the number says it already, or there is nothing to add
    if replica.host_id is not None:
        silent.add(Phase.QUEUED)
    if not replica.message or replica.message == WAITING_FOR_HOST or replica.phase in silent:
        return ""
    return f": {replica.message.rstrip('.')}"


def sentence(replicas: Sequence[Replica], revision: int, count: int, displaced: Mapping[str, str] = NOBODY) -> str:
    """Of a run that is wanted: how many are in rotation, what the others do, how far a rollout is, who must move."""
    live = [replica for replica in replicas if is_live(replica)]
    serving = sum(is_serving(replica) for replica in live)
    parts = [f"{min(serving, count)} of {plural(count, 'replica')} in rotation"]
    older = sorted({replica.revision for replica in live if replica.revision != revision})
    if older:
        new = sum(is_serving(replica) and replica.revision == revision for replica in live)
        parts.append(f"{new} of them of revision {revision}, which replaces {', '.join(map(str, older))}")
    leaving = [replica for replica in in_order(live) if replica.id in displaced]
    parts += [f"replica {replica.index} {displaced[replica.id]}" for replica in leaving[:SHOWN]]
    if len(leaving) > SHOWN:
        parts.append(f"{len(leaving) - SHOWN} more must leave")
    waiting = [replica for replica in in_order(live) if not is_serving(replica)]
    waiting += [
        replica
        for replica in in_order(replicas)
        if replica.ended_at_s is None and replica.wanted is Wanted.RUN and not is_live(replica)
    ]
    parts += [describe(replica) for replica in waiting[:SHOWN]]
    if len(waiting) > SHOWN:
        parts.append(f"{len(waiting) - SHOWN} more are not in rotation")
    draining = sum(replica.wanted is Wanted.DRAIN and replica.ended_at_s is None for replica in replicas)
    if draining:
        parts.append(f"{draining} draining")
    return "; ".join(parts)
