"""PURE: the table of everything that may happen to a replica.

Rule 1: whatever affects a replica's transitions stands in this file. Rule 2: an event that the table does not know
in a phase changes nothing. See also replica, for the steps that it leads to; agent/README.md draws this table.

    (phase, event) -> Rule(what follows, the phases that it may lead to)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent import replica, restarts
from homeport_agent.model import Phase, Wanted
from homeport_agent.replica import Outcome, Replica
from homeport_agent.restarts import EXITS_BEFORE_READY

STOP_RETRY_S = 5.0
UNREADY_RESTART_S = (
    30.0  # its probes have failed for this long since it was taken out: start it again, if it is the first time
)


def handle(it: Replica, event: ev.ReplicaEvent, now_s: float) -> Outcome:
    """The only door. An event that the table does not know in this phase changes nothing."""
    rule = TABLE.get((it.phase, type(event)))
    if rule is None:
        return it, []
    after, orders = rule.follow(it, event, now_s)
    if after.phase is not it.phase:
        after = replace(after, since_s=now_s)
    assert after.phase in rule.to, f"{it.phase} -> {after.phase} on {event} is not in the table"  # noqa: S101
    return after, orders


# --- what follows on each event; the names say (phase, event) ---


def _on_stop_wanted(it: Replica, event: ev.StopWanted, now_s: float) -> Outcome:
    return replica.stop(it, event.assigned, now_s)


def _on_left(it: Replica, event: ev.LeftTheList, now_s: float) -> Outcome:
    wanted_stop = replace(it.assigned, wanted=Wanted.STOP)
    return replica.stop(replace(it, is_absent=True), wanted_stop, now_s)


def _on_run_wanted(it: Replica, event: ev.RunWanted, now_s: float) -> Outcome:
    return replica.take_over(it, event.assigned), []


def _running_run_wanted(it: Replica, event: ev.RunWanted, now_s: float) -> Outcome:
    """The container goes on as it is; what is not in it is taken over, and changed probes are asked from now on."""
    container, is_probed_alike = it.container, event.assigned.probes == it.assigned.probes
    it = replica.take_over(it, event.assigned)
    if is_probed_alike or container is None:
        return it, []
    it = replace(it, readiness=replica.readiness_of(event.assigned))
    return it, [do.StartProbing(event.assigned.replica_id, event.assigned, container)]


def _waiting_run_wanted(it: Replica, event: ev.RunWanted, now_s: float) -> Outcome:
    it = replica.take_over(it, event.assigned)
    if it.act_at_s is None:  # it waited for the server, not for a back-off
        return replica.start(it, now_s)
    return it, []


def _waiting_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    return replica.start(it, now_s) if _is_due(it, now_s) else (it, [])


def _pull_progressed(it: Replica, event: ev.PullProgressed, now_s: float) -> Outcome:
    done, total = event.done_bytes, event.total_bytes
    return replace(it, pulled_bytes=done, pull_total_bytes=total, message=event.message), []


def _image_ready(it: Replica, event: ev.ImageReady, now_s: float) -> Outcome:
    it = replace(it, phase=Phase.STARTING, note=event.note, message="")
    return it, [do.StartContainer(it.assigned.replica_id, it.assigned)]


def _work_failed(it: Replica, event: ev.PullFailed | ev.StartFailed, now_s: float) -> Outcome:
    if not event.can_heal:
        return replica.give_up(it, event.message)
    return replica.failed_try(it, event.message, now_s, tries=event.tries)


def _admission_awaited(it: Replica, event: ev.AdmissionAwaited, now_s: float) -> Outcome:
    return replace(it, message=event.message), []


def _admission_refused(it: Replica, event: ev.AdmissionRefused, now_s: float) -> Outcome:
    return replica.refuse(it, event.message)


def _container_started(it: Replica, event: ev.ContainerStarted, now_s: float) -> Outcome:
    return replica.to_probing(it, event.container, now_s)


def _seen(it: Replica, event: ev.ContainerSeen, now_s: float) -> Outcome:
    """Only a look that shows it ended changes anything; its port may have moved if somebody else restarted it."""
    stop_probing: list[do.Instruction] = [do.StopProbing(it.assigned.replica_id)]
    if event.container is None:
        it, orders = replica.failed_try(
            replace(it, container_id=""), "its container was removed by somebody", now_s, tries=EXITS_BEFORE_READY
        )
        return it, stop_probing + orders
    if not event.container.is_running:
        it, orders = replica.died(it, event.container, event.log_tail, now_s)
        return it, stop_probing + orders
    if event.container.host_port != it.host_port:
        it = replace(it, host_port=event.container.host_port, container=event.container)
        return it, [do.StartProbing(it.assigned.replica_id, it.assigned, event.container)]
    return it, []


def _probing_answered(it: Replica, event: ev.ProbeAnswered, now_s: float) -> Outcome:
    readiness = it.readiness.after(event.probe, event.is_ok)
    it = replace(it, readiness=readiness)
    if readiness.is_ready:
        history = replace(it.history, was_ready=True, is_ready=True, log_tail=())
        return replace(it, phase=Phase.READY, message="", ready_since_s=now_s, act_at_s=None, history=history), []
    return (it if event.is_ok else replace(it, message=event.message)), []


def _probing_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    if not _is_due(it, now_s):
        return it, []
    allowed_s = now_s - it.since_s if it.history.was_ready else it.assigned.ready_timeout_s
    because = f"not ready within {allowed_s:.0f} s: {it.message or 'its probes did not pass'}"
    if it.history.was_ready and it.assigned.retry:
        return replica.restart(it, because)
    return replica.stop_failing(it, because)


def _ready_answered(it: Replica, event: ev.ProbeAnswered, now_s: float) -> Outcome:
    it = replace(it, readiness=it.readiness.after(event.probe, event.is_ok))
    if not it.readiness.is_failing:
        return it, []
    history = restarts.forgiven(it.history, None if it.ready_since_s is None else now_s - it.ready_since_s)
    act_at_s = now_s + restarts.patience_s(history.failures, UNREADY_RESTART_S)
    history = replace(history, is_ready=False)
    return replace(it, phase=Phase.UNREADY, message=event.message, act_at_s=act_at_s, history=history), []


def _unready_answered(it: Replica, event: ev.ProbeAnswered, now_s: float) -> Outcome:
    it = replace(it, readiness=it.readiness.after(event.probe, event.is_ok))
    if it.readiness.is_answering:
        history = replace(it.history, is_ready=True)
        return replace(it, phase=Phase.READY, message="", act_at_s=None, history=history), []
    return (it if event.is_ok else replace(it, message=event.message)), []


def _unready_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    if not _is_due(it, now_s):
        return it, []
    because = f"its probes failed for {now_s - it.since_s:.0f} s: {it.message}"
    return replica.restart(it, because) if it.assigned.retry else replica.stop_failing(it, because)


def _stopping_again(it: Replica, event: ev.StopWanted | ev.LeftTheList, now_s: float) -> Outcome:
    """Asked once more: only a shorter grace (an abort) changes the work that is under way."""
    assigned = event.assigned if isinstance(event, ev.StopWanted) else replace(it.assigned, wanted=Wanted.STOP)
    it = replace(it, assigned=assigned, is_absent=it.is_absent or isinstance(event, ev.LeftTheList))
    if it.grace_s is not None and assigned.stop_grace_s >= it.grace_s:
        return it, []
    it = replace(it, grace_s=assigned.stop_grace_s, act_at_s=None)
    return it, [do.StopContainer(assigned.replica_id, assigned.stop_grace_s, with_logs=bool(it.giving_up))]


def _stopped(it: Replica, event: ev.ContainerStopped, now_s: float) -> Outcome:
    history = replace(it.history, exit_code=event.exit_code if event.exit_code is not None else it.history.exit_code)
    if it.giving_up and event.log_tail:
        history = replace(history, log_tail=event.log_tail)
    it = replace(it, history=history, act_at_s=None, host_port=0, grace_s=None)
    if it.giving_up and it.assigned.wanted is Wanted.RUN:
        return replica.give_up(it, it.giving_up)
    it = replace(it, phase=Phase.STOPPED, message=it.giving_up)
    return it, [do.RemoveContainer(it.assigned.replica_id)] if it.is_absent else []


def _stop_failed(it: Replica, event: ev.StopFailed, now_s: float) -> Outcome:
    return replace(it, message=event.message, act_at_s=now_s + STOP_RETRY_S), []


def _stopping_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    if not _is_due(it, now_s):
        return it, []
    grace_s = it.grace_s or 0.0
    it = replace(it, act_at_s=None)
    return it, [do.StopContainer(it.assigned.replica_id, grace_s, with_logs=bool(it.giving_up))]


def _ended_stop_wanted(it: Replica, event: ev.StopWanted, now_s: float) -> Outcome:
    return replace(it, assigned=event.assigned, phase=Phase.STOPPED), []


def _ended_left(it: Replica, event: ev.LeftTheList, now_s: float) -> Outcome:
    it = replace(it, is_absent=True, phase=Phase.STOPPED, assigned=replace(it.assigned, wanted=Wanted.STOP))
    return it, [do.RemoveContainer(it.assigned.replica_id)]


def _stopped_left(it: Replica, event: ev.LeftTheList, now_s: float) -> Outcome:
    return (it, []) if it.is_absent else _ended_left(it, event, now_s)


def _removed(it: Replica, event: ev.ContainerRemoved, now_s: float) -> Outcome:
    return (replace(it, is_gone=True, container_id=""), []) if it.is_absent else (it, [])


def _remove_failed(it: Replica, event: ev.RemoveFailed, now_s: float) -> Outcome:
    if not it.is_absent:  # nobody asked for it
        return it, []
    return replace(it, message=event.message, act_at_s=now_s + STOP_RETRY_S), []


def _stopped_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    if not (_is_due(it, now_s) and it.is_absent):
        return it, []
    return replace(it, act_at_s=None), [do.RemoveContainer(it.assigned.replica_id)]


def _is_due(it: Replica, now_s: float) -> bool:
    return it.act_at_s is not None and now_s >= it.act_at_s


@dataclass(frozen=True, slots=True)
class Rule:
    follow: "Callable[[Replica, ev.ReplicaEvent, float], Outcome]"
    to: tuple[Phase, ...]


def _table() -> "Mapping[tuple[Phase, type[ev.ReplicaEvent]], Rule]":
    p = Phase
    start = (p.WAITING, p.PULLING, p.STARTING)
    failed_try = (p.WAITING, p.FAILED)
    running = (p.PROBING, p.READY, p.UNREADY)
    rows: list[tuple[tuple[Phase, ...], type, Callable[..., Outcome], tuple[Phase, ...]]] = [
        ((p.WAITING,), ev.RunWanted, _waiting_run_wanted, start),
        ((p.WAITING,), ev.TimePassed, _waiting_time, start),
        ((p.PULLING,), ev.PullProgressed, _pull_progressed, ()),
        ((p.PULLING,), ev.ImageReady, _image_ready, (p.STARTING,)),
        ((p.PULLING,), ev.PullFailed, _work_failed, failed_try),
        ((p.STARTING,), ev.ContainerStarted, _container_started, (p.PROBING,)),
        ((p.STARTING,), ev.StartFailed, _work_failed, failed_try),
        ((p.STARTING,), ev.AdmissionAwaited, _admission_awaited, ()),
        ((p.PULLING, p.STARTING), ev.AdmissionRefused, _admission_refused, (p.FAILED,)),
        ((p.PROBING,), ev.ProbeAnswered, _probing_answered, (p.READY,)),
        ((p.PROBING,), ev.TimePassed, _probing_time, (p.STARTING, p.STOPPING)),
        ((p.READY,), ev.ProbeAnswered, _ready_answered, (p.UNREADY,)),
        ((p.UNREADY,), ev.ProbeAnswered, _unready_answered, (p.READY,)),
        ((p.UNREADY,), ev.TimePassed, _unready_time, (p.STARTING, p.STOPPING)),
        (running, ev.ContainerSeen, _seen, failed_try),
        ((p.PULLING, p.STARTING), ev.RunWanted, _on_run_wanted, ()),
        (running, ev.RunWanted, _running_run_wanted, ()),
        ((p.WAITING, p.PULLING, p.STARTING, *running), ev.StopWanted, _on_stop_wanted, (p.STOPPING,)),
        ((p.WAITING, p.PULLING, p.STARTING, *running), ev.LeftTheList, _on_left, (p.STOPPING,)),
        ((p.STOPPING,), ev.StopWanted, _stopping_again, ()),
        ((p.STOPPING,), ev.LeftTheList, _stopping_again, ()),
        ((p.STOPPING,), ev.ContainerStopped, _stopped, (p.STOPPED, p.FAILED)),
        ((p.STOPPING,), ev.StopFailed, _stop_failed, ()),
        ((p.STOPPING,), ev.TimePassed, _stopping_time, ()),
        ((p.FAILED,), ev.StopWanted, _ended_stop_wanted, (p.STOPPED,)),
        ((p.FAILED,), ev.LeftTheList, _ended_left, (p.STOPPED,)),
        ((p.STOPPED,), ev.LeftTheList, _stopped_left, ()),
        ((p.STOPPED,), ev.ContainerRemoved, _removed, ()),
        ((p.STOPPED,), ev.RemoveFailed, _remove_failed, ()),
        ((p.STOPPED,), ev.TimePassed, _stopped_time, ()),
    ]
    # A rule may always leave the phase as it is.
    return {(phase, event): Rule(follow, (phase, *to)) for phases, event, follow, to in rows for phase in phases}


TABLE = _table()
