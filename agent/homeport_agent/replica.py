"""PURE: one replica on this host: its state, how it begins, and the steps that more than one event leads to.

Does not cover which step follows on which event (transitions), the list of replicas, adoption and generations
(machine), nor the doing (runner).
"""

from dataclasses import dataclass, field, replace

from homeport_agent import instructions as do
from homeport_agent import restarts, silence
from homeport_agent.model import AssignedReplica, Container, History, Phase, ReplicaObserved, Wanted
from homeport_agent.readiness import Readiness

RESTART_GRACE_S = 10.0  # it does not answer: no reason to wait long for it


@dataclass(frozen=True, slots=True)
class Replica:
    """The whole state of one replica. Times are of the same clock as `now_s`."""

    assigned: AssignedReplica
    phase: Phase = Phase.WAITING
    since_s: float = 0.0  # when it entered this phase
    message: str = ""
    note: str = ""  # told while there is nothing worse to say: "uses the local image …"
    container_id: str = ""
    container: Container | None = None  # as it was last seen running
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
        message = self.message or self.note
        if self.phase is Phase.PROBING and self.message and now_s is not None:
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
            refused=failed and self.history.refused,
        )


Outcome = tuple[Replica, list[do.Instruction]]


def begin(assigned: AssignedReplica, container: Container | None, history: History, now_s: float) -> Outcome:
    """A replica that this agent did not hold until now; `container` is what was found of it."""
    it = Replica(assigned, since_s=now_s, history=history)
    if container is not None:
        it = replace(it, container_id=container.id, host_port=container.host_port)
    is_running = container is not None and container.is_running
    if container is not None and is_running:
        it = replace(it, readiness=readiness_of(assigned), container=container)
        if assigned.wanted is Wanted.STOP:
            return stop(it, assigned, now_s)
        probing: list[do.Instruction] = [do.StartProbing(assigned.replica_id, assigned, container)]
        if history.is_ready:
            # It was in rotation when the last agent looked: it stays there while it is probed again.
            return replace(it, phase=Phase.READY, ready_since_s=now_s), probing
        return to_probing(it, container, now_s)
    if assigned.wanted is Wanted.STOP:
        code = container.exit_code if container else None
        return replace(it, phase=Phase.STOPPED, history=replace(history, exit_code=code)), []
    if history.gave_up:
        return replace(it, phase=Phase.FAILED, message=history.gave_up), []
    if container is None or not container.was_started:
        return start(it, now_s)
    return died(it, container, (), now_s)


def take_over(it: Replica, assigned: AssignedReplica) -> Replica:
    """The same replica with settings that may have changed. A first start gets the time that is allowed now."""
    longer_s = assigned.ready_timeout_s - it.assigned.ready_timeout_s
    it = replace(it, assigned=assigned)
    if it.ready_deadline_s is None or not longer_s:
        return it
    it = replace(it, ready_deadline_s=it.ready_deadline_s + longer_s)
    return replace(it, act_at_s=it.ready_deadline_s) if it.phase is Phase.PROBING else it


def readiness_of(assigned: AssignedReplica) -> Readiness:
    return Readiness.of(tuple(probe.ready_after for probe in assigned.probes) or (1,))


def start(it: Replica, now_s: float) -> Outcome:
    """The next step towards a running container: wait for the server, pull, or start what is there."""
    why_not = silence.why_not_start(it.assigned, it.container_id)
    if why_not:
        return replace(it, phase=Phase.WAITING, message=why_not, act_at_s=None), []
    if it.container_id:
        it = replace(it, phase=Phase.STARTING, message="", act_at_s=None)
        return it, [do.StartContainer(it.assigned.replica_id, it.assigned)]
    it = replace(it, phase=Phase.PULLING, message="", act_at_s=None, pulled_bytes=0, pull_total_bytes=0)
    return it, [do.PullImage(it.assigned.replica_id, it.assigned)]


def to_probing(it: Replica, container: Container, now_s: float) -> Outcome:
    deadline = it.ready_deadline_s
    if it.history.was_ready:
        deadline = now_s + restarts.patience_s(it.history.failures, it.assigned.ready_timeout_s)
    elif deadline is None:
        deadline = now_s + it.assigned.ready_timeout_s
    it = replace(
        it,
        phase=Phase.PROBING,
        message="",
        container_id=container.id,
        container=container,
        host_port=container.host_port,
        readiness=readiness_of(it.assigned),
        ready_deadline_s=deadline,
        act_at_s=deadline,
        history=replace(it.history, exit_code=None, is_ready=False),
    )
    return it, [do.StartProbing(it.assigned.replica_id, it.assigned, container)]


def failed_try(it: Replica, what: str, now_s: float, *, tries: int, log_tail: tuple[str, ...] = ()) -> Outcome:
    """One try has failed and nothing of it runs: wait and start again, or give up."""
    ready_for_s = None if it.ready_since_s is None else now_s - it.ready_since_s
    it = replace(
        it, ready_since_s=None, host_port=0, readiness=replace(it.readiness, streaks=(0,) * it.readiness.total)
    )
    history = replace(it.history, is_ready=False, log_tail=log_tail)
    verdict = restarts.after_failure(history, what, retry=it.assigned.retry, ready_for_s=ready_for_s, tries=tries)
    if isinstance(verdict, restarts.GiveUp):
        return give_up(replace(it, history=verdict.history), verdict.because)
    deadline = it.ready_deadline_s
    if not history.was_ready:
        if deadline is None:
            deadline = now_s + it.assigned.ready_timeout_s
        if now_s + verdict.delay_s >= deadline:
            return give_up(it, f"not ready within {it.assigned.ready_timeout_s:g} s: {what}")
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


def give_up(it: Replica, because: str) -> Outcome:
    history = replace(it.history, gave_up=because, is_ready=False)
    return replace(it, phase=Phase.FAILED, message=because, history=history, act_at_s=None, host_port=0), []


def refuse(it: Replica, because: str) -> Outcome:
    """Given up here, whatever `retry` says: the server makes another one where it fits."""
    return give_up(replace(it, history=replace(it.history, refused=True)), because)


def how_it_ended(container: Container, assigned: AssignedReplica) -> str:
    """One clause about the end of a container."""
    code = container.exit_code
    if container.oom_killed:
        limit = f" (its limit is {assigned.memory_limit_mib} MiB)" if assigned.memory_limit_mib else ""
        return f"killed: out of memory{limit}"
    if code is not None and code > 128:
        return f"killed by signal {code - 128} (exit code {code})"
    return f"exited with code {code}" if code is not None else "exited"


def died(it: Replica, container: Container, log_tail: tuple[str, ...], now_s: float) -> Outcome:
    it = replace(it, history=replace(it.history, exit_code=container.exit_code))
    return failed_try(
        it, how_it_ended(container, it.assigned), now_s, tries=restarts.EXITS_BEFORE_READY, log_tail=log_tail
    )


def stop(it: Replica, assigned: AssignedReplica, now_s: float) -> Outcome:
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


def stop_failing(it: Replica, because: str) -> Outcome:
    """Given up while it still runs: stopped first, with its last lines, then FAILED."""
    replica_id, grace_s = it.assigned.replica_id, min(it.assigned.stop_grace_s, RESTART_GRACE_S)
    it = replace(it, phase=Phase.STOPPING, message=because, giving_up=because, act_at_s=None, grace_s=grace_s)
    it = replace(it, history=replace(it.history, is_ready=False))
    return it, [do.StopProbing(replica_id), do.StopContainer(replica_id, grace_s, with_logs=True)]


def restart(it: Replica, because: str) -> Outcome:
    replica_id, before = it.assigned.replica_id, it.history
    history = replace(before, restarts=before.restarts + 1, failures=before.failures + 1, is_ready=False)
    message = f"{because}; started again"
    it = replace(
        it, phase=Phase.STARTING, message=message, history=history, act_at_s=None, host_port=0, ready_since_s=None
    )
    grace_s = min(it.assigned.stop_grace_s, RESTART_GRACE_S)
    return it, [do.StopProbing(replica_id), do.RestartContainer(replica_id, it.assigned, grace_s)]
