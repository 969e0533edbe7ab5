"""PURE: one replica on this host: its state, and the table of everything that may happen to it.

Rule 1: whatever affects a replica's transitions stands in this file. Rule 2: an event that the table does not know
in a phase changes nothing. Does not cover the list of replicas, adoption and generations (machine), nor the doing
(runner).

    (phase, event) -> Rule(what follows, the phases that it may lead to)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent import restarts, silence
from homeport_agent.model import AssignedReplica, Container, History, Phase, ReplicaObserved, Wanted
from homeport_agent.readiness import Readiness

UNREADY_RESTART_S = 30.0  # its probes have failed for this long since it was taken out: start it again
RESTART_GRACE_S = 10.0  # it does not answer: no reason to wait long for it
STOP_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """The whole state of one replica. Times are of the same clock as `now_s`."""

    assigned: AssignedReplica
    phase: Phase = Phase.WAITING
    since_s: float = 0.0  # when it entered this phase
    message: str = ""
    container_id: str = ""
    host_port: int = 0
    history: History = field(default_factory=History)
    readiness: Readiness = field(default_factory=lambda: Readiness.of(()))
    ready_since_s: float | None = None
    act_at_s: float | None = None  # the one time at which this phase wants TimePassed
    ready_deadline_s: float | None = None  # of a first start
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    giving_up: str = ""  # why, while its container is being stopped
    grace_s: float | None = None  # of the stop that is under way
    is_absent: bool = False  # it left the list: removed once it has stopped
    is_gone: bool = False  # nothing of it is left

    def observed(self, now_s: float | None) -> ReplicaObserved:
        """What the server is told. Without `now_s` the part that only the clock changes is left out."""
        message = self.message
        if self.phase is Phase.PROBING and message and now_s is not None:
            message = f"{message} for {max(0, now_s - self.since_s):.0f} s"
        failed = self.phase is Phase.FAILED
        return ReplicaObserved(
            replica_id=self.assigned.replica_id,
            phase=self.phase,
            message=message,
            host_port=self.host_port,
            container_id=self.container_id,
            restarts=self.history.restarts,
            exit_code=self.history.exit_code,
            pulled_bytes=self.pulled_bytes,
            pull_total_bytes=self.pull_total_bytes,
            log_tail=self.history.log_tail if failed or self.history.exits else (),
            probes_passed=self.readiness.passed,
            probes_total=self.readiness.total,
        )


Outcome = tuple[Replica, list[do.Instruction]]


def begin(assigned: AssignedReplica, container: Container | None, history: History, now_s: float) -> Outcome:
    """A replica that this agent did not hold until now; `container` is what was found of it."""
    it = Replica(assigned, since_s=now_s, history=history)
    if container is not None:
        it = replace(it, container_id=container.id, host_port=container.host_port)
    is_running = container is not None and container.is_running
    if container is not None and is_running:
        it = replace(it, readiness=_readiness(assigned))
        if assigned.wanted is Wanted.STOP:
            return _stop(it, assigned, now_s)
        probing: list[do.Instruction] = [do.StartProbing(assigned.replica_id, assigned, container)]
        if history.is_ready:
            # It was in rotation when the last agent looked: it stays there while it is probed again.
            return replace(it, phase=Phase.READY, ready_since_s=now_s), probing
        return _to_probing(it, container, now_s)
    if assigned.wanted is Wanted.STOP:
        code = container.exit_code if container else None
        return replace(it, phase=Phase.STOPPED, history=replace(history, exit_code=code)), []
    if history.gave_up:
        return replace(it, phase=Phase.FAILED, message=history.gave_up), []
    if container is None or not container.was_started:
        return _start(it, now_s)
    return _died(it, container, (), now_s)


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


def _readiness(assigned: AssignedReplica) -> Readiness:
    return Readiness.of(tuple(probe.ready_after for probe in assigned.probes) or (1,))


def _start(it: Replica, now_s: float) -> Outcome:
    """The next step towards a running container: wait for the server, pull, or start what is there."""
    why_not = silence.why_not_start(it.assigned, it.container_id)
    if why_not:
        return replace(it, phase=Phase.WAITING, message=why_not, act_at_s=None), []
    if it.container_id:
        it = replace(it, phase=Phase.STARTING, message="", act_at_s=None)
        return it, [do.StartContainer(it.assigned.replica_id, it.assigned)]
    it = replace(it, phase=Phase.PULLING, message="", act_at_s=None, pulled_bytes=0, pull_total_bytes=0)
    return it, [do.PullImage(it.assigned.replica_id, it.assigned)]


def _to_probing(it: Replica, container: Container, now_s: float) -> Outcome:
    deadline = it.ready_deadline_s
    if deadline is None or it.history.was_ready:
        deadline = now_s + it.assigned.ready_timeout_s
    it = replace(
        it,
        phase=Phase.PROBING,
        message="",
        container_id=container.id,
        host_port=container.host_port,
        readiness=_readiness(it.assigned),
        ready_deadline_s=deadline,
        act_at_s=deadline,
        history=replace(it.history, exit_code=None, is_ready=False),
    )
    return it, [do.StartProbing(it.assigned.replica_id, it.assigned, container)]


def _failed_try(it: Replica, what: str, now_s: float, *, counts: bool, log_tail: tuple[str, ...] = ()) -> Outcome:
    """One try has failed and nothing of it runs: wait and start again, or give up."""
    ready_for_s = None if it.ready_since_s is None else now_s - it.ready_since_s
    it = replace(
        it, ready_since_s=None, host_port=0, readiness=replace(it.readiness, streaks=(0,) * it.readiness.total)
    )
    history = replace(it.history, is_ready=False, log_tail=log_tail)
    verdict = restarts.after_failure(history, what, retry=it.assigned.retry, ready_for_s=ready_for_s, counts=counts)
    if isinstance(verdict, restarts.GiveUp):
        return _give_up(replace(it, history=verdict.history), verdict.because)
    deadline = it.ready_deadline_s
    if not history.was_ready:
        if deadline is None:
            deadline = now_s + it.assigned.ready_timeout_s
        if now_s + verdict.delay_s >= deadline:
            return _give_up(it, f"not ready within {it.assigned.ready_timeout_s:g} s: {what}")
    history = replace(verdict.history, restarts=verdict.history.restarts + bool(it.container_id))
    message = f"{what}; next try in {verdict.delay_s:g} s"
    it = replace(
        it,
        phase=Phase.WAITING,
        message=message,
        history=history,
        act_at_s=now_s + verdict.delay_s,
        ready_deadline_s=deadline,
    )
    return it, []


def _give_up(it: Replica, because: str) -> Outcome:
    history = replace(it.history, gave_up=because, is_ready=False)
    return replace(it, phase=Phase.FAILED, message=because, history=history, act_at_s=None, host_port=0), []


def how_it_ended(container: Container, assigned: AssignedReplica) -> str:
    """One clause about the end of a container."""
    code = container.exit_code
    if container.oom_killed:
        limit = f" (its limit is {assigned.memory_limit_mib} MiB)" if assigned.memory_limit_mib else ""
        return f"killed: out of memory{limit}"
    if code is not None and code > 128:
        return f"killed by signal {code - 128} (exit code {code})"
    return f"exited with code {code}" if code is not None else "exited"


def _died(it: Replica, container: Container, log_tail: tuple[str, ...], now_s: float) -> Outcome:
    it = replace(it, history=replace(it.history, exit_code=container.exit_code))
    return _failed_try(it, how_it_ended(container, it.assigned), now_s, counts=True, log_tail=log_tail)


def _stop(it: Replica, assigned: AssignedReplica, now_s: float) -> Outcome:
    orders: list[do.Instruction] = []
    if it.phase in (Phase.PROBING, Phase.READY, Phase.UNREADY):
        orders.append(do.StopProbing(assigned.replica_id))
    orders.append(do.StopContainer(assigned.replica_id, assigned.stop_grace_s))
    history = replace(it.history, is_ready=False)
    it = replace(
        it,
        assigned=assigned,
        phase=Phase.STOPPING,
        message="",
        act_at_s=None,
        grace_s=assigned.stop_grace_s,
        history=history,
    )
    return it, orders


# --- what follows on each event; the names say (phase, event) ---


def _on_stop_wanted(it: Replica, event: ev.StopWanted, now_s: float) -> Outcome:
    return _stop(it, event.assigned, now_s)


def _on_left(it: Replica, event: ev.LeftTheList, now_s: float) -> Outcome:
    wanted_stop = replace(it.assigned, wanted=Wanted.STOP)
    return _stop(replace(it, is_absent=True), wanted_stop, now_s)


def _on_run_wanted(it: Replica, event: ev.RunWanted, now_s: float) -> Outcome:
    return replace(it, assigned=event.assigned), []


def _waiting_run_wanted(it: Replica, event: ev.RunWanted, now_s: float) -> Outcome:
    it = replace(it, assigned=event.assigned)
    if it.act_at_s is None:  # it waited for the server, not for a back-off
        return _start(it, now_s)
    return it, []


def _waiting_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    return _start(it, now_s) if _is_due(it, now_s) else (it, [])


def _pull_progressed(it: Replica, event: ev.PullProgressed, now_s: float) -> Outcome:
    return replace(it, pulled_bytes=event.done_bytes, pull_total_bytes=event.total_bytes), []


def _image_ready(it: Replica, event: ev.ImageReady, now_s: float) -> Outcome:
    it = replace(it, phase=Phase.STARTING, message=event.note)
    return it, [do.StartContainer(it.assigned.replica_id, it.assigned)]


def _work_failed(it: Replica, event: ev.PullFailed | ev.StartFailed, now_s: float) -> Outcome:
    if not event.can_heal:
        return _give_up(it, event.message)
    return _failed_try(it, event.message, now_s, counts=event.counts)


def _container_started(it: Replica, event: ev.ContainerStarted, now_s: float) -> Outcome:
    return _to_probing(it, event.container, now_s)


def _seen(it: Replica, event: ev.ContainerSeen, now_s: float) -> Outcome:
    """Only a look that shows it ended changes anything; its port may have moved if somebody else restarted it."""
    stop_probing: list[do.Instruction] = [do.StopProbing(it.assigned.replica_id)]
    if event.container is None:
        it, orders = _failed_try(
            replace(it, container_id=""), "its container was removed by somebody", now_s, counts=True
        )
        return it, stop_probing + orders
    if not event.container.is_running:
        it, orders = _died(it, event.container, event.log_tail, now_s)
        return it, stop_probing + orders
    if event.container.host_port != it.host_port:
        it = replace(it, host_port=event.container.host_port)
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
    because = f"not ready within {it.assigned.ready_timeout_s:g} s: {it.message or 'its probes did not pass'}"
    if it.history.was_ready and it.assigned.retry:
        return _restart(it, because)
    return _stop_failing(it, because)


def _stop_failing(it: Replica, because: str) -> Outcome:
    """Given up while it still runs: stopped first, with its last lines, then FAILED."""
    replica_id, grace_s = it.assigned.replica_id, min(it.assigned.stop_grace_s, RESTART_GRACE_S)
    it = replace(it, phase=Phase.STOPPING, message=because, giving_up=because, act_at_s=None, grace_s=grace_s)
    it = replace(it, history=replace(it.history, is_ready=False))
    return it, [do.StopProbing(replica_id), do.StopContainer(replica_id, grace_s, with_logs=True)]


def _restart(it: Replica, because: str) -> Outcome:
    replica_id = it.assigned.replica_id
    history = replace(it.history, restarts=it.history.restarts + 1, is_ready=False)
    it = replace(
        it, phase=Phase.STARTING, message=f"{because}; started again", history=history, act_at_s=None, host_port=0
    )
    grace_s = min(it.assigned.stop_grace_s, RESTART_GRACE_S)
    return it, [do.StopProbing(replica_id), do.RestartContainer(replica_id, it.assigned, grace_s)]


def _ready_answered(it: Replica, event: ev.ProbeAnswered, now_s: float) -> Outcome:
    it = replace(it, readiness=it.readiness.after(event.probe, event.is_ok))
    if not it.readiness.is_failing:
        return it, []
    history = replace(it.history, is_ready=False)
    return replace(
        it, phase=Phase.UNREADY, message=event.message, act_at_s=now_s + UNREADY_RESTART_S, history=history
    ), []


def _unready_answered(it: Replica, event: ev.ProbeAnswered, now_s: float) -> Outcome:
    it = replace(it, readiness=it.readiness.after(event.probe, event.is_ok))
    if it.readiness.is_answering:
        history = replace(it.history, is_ready=True)
        return replace(it, phase=Phase.READY, message="", act_at_s=None, history=history), []
    return (it if event.is_ok else replace(it, message=event.message)), []


def _unready_time(it: Replica, event: ev.TimePassed, now_s: float) -> Outcome:
    if not _is_due(it, now_s):
        return it, []
    because = f"its probes failed for {UNREADY_RESTART_S:g} s: {it.message}"
    return _restart(it, because) if it.assigned.retry else _stop_failing(it, because)


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
        return _give_up(it, it.giving_up)
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
    return replace(it, is_gone=it.is_absent, container_id=""), []


def _remove_failed(it: Replica, event: ev.RemoveFailed, now_s: float) -> Outcome:
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
        ((p.PROBING,), ev.ProbeAnswered, _probing_answered, (p.READY,)),
        ((p.PROBING,), ev.TimePassed, _probing_time, (p.STARTING, p.STOPPING)),
        ((p.READY,), ev.ProbeAnswered, _ready_answered, (p.UNREADY,)),
        ((p.UNREADY,), ev.ProbeAnswered, _unready_answered, (p.READY,)),
        ((p.UNREADY,), ev.TimePassed, _unready_time, (p.STARTING, p.STOPPING)),
        (running, ev.ContainerSeen, _seen, failed_try),
        ((p.PULLING, p.STARTING, *running), ev.RunWanted, _on_run_wanted, ()),
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
