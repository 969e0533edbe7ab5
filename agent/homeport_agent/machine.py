"""PURE: all replicas of this host: `handle(event, now_s)` gives instructions.

Covers the list (what is new, changed, absent), generations, adoption of found containers, routing of events to
`replica`. Does not cover one replica's transitions (transitions), back-off (restarts), the silent server (silence).
Knows no asyncio, clock, network or disk: the runner tells it what happened and does what it says.
"""

from dataclasses import replace

from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent import replica, silence, transitions
from homeport_agent.admission import Other
from homeport_agent.model import (
    AssignedReplica,
    Assignment,
    Container,
    History,
    JournalEntry,
    Phase,
    ReplicaObserved,
    Wanted,
)

STRANGER_GRACE_S = 10.0  # a container that no assignment lists: what it was promised is not known


class Machine:
    """Holds the replicas. `changes` grows whenever something that the server is told has changed."""

    def __init__(self, boot_id: str = "") -> None:
        """`boot_id`: which start of this machine it is; empty: not known, so that a journal may be of another one."""
        self.changes = 0
        self._boot_id = boot_id
        self._accepted: Assignment | None = None
        self._server_heard = False  # an assignment of the server, not only of the journal
        self.has_no_journal = False  # the first list came from the server: no probe of this host has an answer yet
        self._containers_known = False
        self._unavailable = ""
        self._replicas: dict[str, replica.Replica] = {}
        self._strangers: dict[str, Container] = {}  # found, in no list that we have
        self._histories: dict[str, History] = {}  # of the journal, until adopted

    # --- questions ---

    @property
    def accepted(self) -> Assignment | None:
        return self._accepted

    @property
    def containers_known(self) -> bool:
        return self._containers_known

    @property
    def can_tell(self) -> bool:
        """Its replicas are known, or that they cannot be known now: there is something true to report."""
        return self._containers_known or bool(self._unavailable)

    def replica_of(self, replica_id: str) -> replica.Replica | None:
        return self._replicas.get(replica_id)

    def others(self, replica_id: str) -> tuple[Other, ...]:
        """All replicas but this one, by id, for its admission."""
        return tuple(Other(it.assigned, it.phase) for key, it in sorted(self._replicas.items()) if key != replica_id)

    def running(self) -> dict[str, tuple[AssignedReplica, str]]:
        """By replica id: what it was assigned, and its container's id. Those that have a container."""
        return {key: (it.assigned, it.container_id) for key, it in self._replicas.items() if it.container_id}

    def next_wake_s(self) -> float | None:
        """When TimePassed is due; None: no replica waits for a time."""
        if not self._containers_known:  # what cannot be seen is not started again
            return None
        return min((it.act_at_s for it in self._replicas.values() if it.act_at_s is not None), default=None)

    @property
    def waits_for_a_list(self) -> bool:
        """Containers of ours run, and nothing says what they are: the journal is lost."""
        return self._accepted is None and bool(self._strangers)

    def observe(self, now_s: float | None) -> tuple[ReplicaObserved, ...]:
        """All that is held, sorted by id. Until the engine has answered: what the journal says that serves, by its probes."""
        if not self._containers_known and self._accepted is not None:
            message = self._unavailable or "the agent looks for its containers"
            return tuple(
                self._replicas[key].observed(now_s)
                if key in self._replicas
                else ReplicaObserved(key, Phase.WAITING, message)
                for key in sorted(it.replica_id for it in self._accepted.replicas)
            )
        return tuple(self._replicas[key].observed(now_s) for key in sorted(self._replicas))

    def journal_entry(self) -> JournalEntry | None:
        """What must outlive this process."""
        if self._accepted is None:
            return None
        histories = {**self._histories, **{key: it.history for key, it in self._replicas.items()}}
        held = [self._replicas[key] for key in sorted(self._replicas)]
        serving = tuple(it.container for it in held if it.history.is_ready and it.container is not None)
        return JournalEntry(self._accepted, tuple(sorted(histories.items())), serving, self._boot_id)

    # --- the door ---

    def handle(self, event: ev.Event, now_s: float) -> list[do.Instruction]:
        match event:
            case ev.JournalRead(entry):
                return self._journal_read(entry, now_s)
            case ev.EngineUnavailable(message):
                self.changes += message != self._unavailable and not self._containers_known
                self._unavailable = message
                return []
            case ev.ContainersFound(containers):
                return self._containers_found(containers, now_s)
            case ev.AssignmentReceived(assignment):
                return self._assignment_received(assignment, now_s)
            case ev.TimePassed():
                if not self._containers_known:
                    return []
                return [order for key in list(self._replicas) for order in self._tell(key, event, now_s)]
            case _:
                return self._tell(event.replica_id, event, now_s)

    def _journal_read(self, entry: JournalEntry | None, now_s: float) -> list[do.Instruction]:
        if entry is None or self._accepted is not None:
            return []
        self._accepted = entry.assignment
        self._histories = dict(entry.histories)
        if not entry.boot_id or entry.boot_id != self._boot_id:
            return []
        # What served goes on serving while the engine does not answer, however long that takes; probes tell when not.
        wanted = {it.replica_id: it for it in entry.assignment.replicas if it.wanted is Wanted.RUN}
        serving = [it for it in entry.serving if it.replica_id in wanted]
        return [order for it in serving for order in self._begin(wanted[it.replica_id], it, now_s)]

    def _containers_found(self, containers: tuple[Container, ...], now_s: float) -> list[do.Instruction]:
        if self._containers_known:
            return []
        self._containers_known = True
        self._strangers = {container.replica_id: container for container in containers}
        self.changes += 1
        orders: list[do.Instruction] = []
        for key, it in list(self._replicas.items()):  # that the journal was believed about
            if self._strangers.get(key) == it.container:
                del self._strangers[key]
            else:
                self._histories[key] = self._replicas.pop(key).history
                orders.append(do.StopProbing(key))
        return orders + self._settle(now_s)

    def _assignment_received(self, assignment: Assignment, now_s: float) -> list[do.Instruction]:
        old = self._accepted
        if old is not None and old.server_id == assignment.server_id and assignment.generation < old.generation:
            return []
        self.has_no_journal = self.has_no_journal or old is None
        self._accepted = assignment
        self._server_heard = True
        self.changes += 1
        return self._settle(now_s) if self._containers_known else []

    def _settle(self, now_s: float) -> list[do.Instruction]:
        """Bring what is held in line with the accepted list."""
        orders: list[do.Instruction] = []
        listed = {it.replica_id: it for it in self._accepted.replicas} if self._accepted else {}
        for key, assigned in listed.items():
            held = self._replicas.get(key)
            if held is None:
                orders += self._begin(assigned, self._strangers.pop(key, None), now_s)
            elif not held.is_absent:  # one that comes back while it is being removed begins anew after that
                wish = ev.RunWanted(assigned) if assigned.wanted is Wanted.RUN else ev.StopWanted(assigned)
                orders += self._tell(key, wish, now_s)
        for key in [key for key in self._replicas if key not in listed]:
            orders += self._tell(key, ev.LeftTheList(), now_s)
        names = frozenset(listed)
        for key, container in list(self._strangers.items()):
            if silence.may_remove(container, names, server_heard=self._server_heard):
                del self._strangers[key]
                orders += self._begin(_stranger(container), container, now_s)
                orders += self._tell(key, ev.LeftTheList(), now_s)
        return orders

    def _begin(self, assigned: AssignedReplica, container: Container | None, now_s: float) -> list[do.Instruction]:
        history = self._histories.pop(assigned.replica_id, History())
        self._replicas[assigned.replica_id], orders = replica.begin(assigned, container, history, now_s)
        self.changes += 1
        return orders

    def _tell(self, key: str, event: ev.ReplicaEvent, now_s: float) -> list[do.Instruction]:
        before = self._replicas.get(key)
        if before is None:
            return []
        after, orders = transitions.handle(before, event, now_s)
        if after is before:
            return orders
        self.changes += after.is_gone or after.observed(None) != before.observed(None)
        self._replicas[key] = after
        if not after.is_gone:
            return orders
        del self._replicas[key]
        again = next((it for it in self._accepted.replicas if it.replica_id == key), None) if self._accepted else None
        return orders + (self._begin(again, None, now_s) if again else [])


def _stranger(container: Container) -> AssignedReplica:
    """What the labels say of a container that no assignment lists: enough to stop and remove it."""
    return AssignedReplica(
        replica_id=container.replica_id,
        run_name=container.run_name,
        revision=container.revision,
        index=container.index,
        wanted=Wanted.STOP,
        image="",
        stop_grace_s=STRANGER_GRACE_S,
        secrets_known=False,
    )


def without_secrets(assignment: Assignment) -> Assignment:
    """The assignment as it may lie on disk: no env values, no registry passwords, no probe that carries something."""
    return replace(assignment, replicas=tuple(_without_secrets(it) for it in assignment.replicas))


def _without_secrets(it: AssignedReplica) -> AssignedReplica:
    # A probe's headers and body may be a token. Asked without them it would fail and cost a good replica its life, so
    # until the server is heard again such a probe is not asked at all (with none left: a TCP connect).
    probes = tuple(probe for probe in it.probes if not probe.headers and not probe.body)
    return replace(it, env=(), registry_auth=None, probes=probes, secrets_known=False)
