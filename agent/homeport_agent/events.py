"""What happened, in the past tense: all that the machine ever hears.

Covers values only. A failure of I/O is an event too, with its sentence and whether it may heal by itself.
"""

from dataclasses import dataclass, field

from homeport_agent.model import AssignedReplica, Assignment, Container, JournalEntry


@dataclass(frozen=True, slots=True)
class JournalRead:
    """At start: what was assigned when the agent last ran, without env values and passwords."""

    entry: JournalEntry | None


@dataclass(frozen=True, slots=True)
class ContainersFound:
    """At start: every container with our labels of this server. Nothing is decided before."""

    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class EngineUnavailable:
    """The engine does not answer. Matters before ContainersFound; later the single calls fail by themselves."""

    message: str


@dataclass(frozen=True, slots=True)
class AssignmentReceived:
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class TimePassed:
    """`now_s` reached the time that `Machine.next_wake_s` gave."""


@dataclass(frozen=True, slots=True)
class RunWanted:
    """The assignment lists the replica as one to run (again, and perhaps with its secrets now)."""

    assigned: AssignedReplica


@dataclass(frozen=True, slots=True)
class StopWanted:
    assigned: AssignedReplica


@dataclass(frozen=True, slots=True)
class LeftTheList:
    """The assignment does not list the replica any more: stop it and remove what is left of it."""


@dataclass(frozen=True, slots=True)
class PullProgressed:
    replica_id: str
    done_bytes: int
    total_bytes: int
    message: str = ""  # what comes, when it is not the image


@dataclass(frozen=True, slots=True)
class ImageReady:
    replica_id: str
    note: str = ""  # what a user should know: "local image used, the registry does not answer"


@dataclass(frozen=True, slots=True)
class PullFailed:
    replica_id: str
    message: str
    can_heal: bool
    tries: int = 0  # so many failures end a first start; 0: only its time does


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    replica_id: str
    container: Container


@dataclass(frozen=True, slots=True)
class StartFailed:
    replica_id: str
    message: str
    can_heal: bool
    tries: int = 0  # so many failures end a first start; 0: only its time does


@dataclass(frozen=True, slots=True)
class AdmissionAwaited:
    """Its GPUs are not free yet, and may be soon."""

    replica_id: str
    message: str


@dataclass(frozen=True, slots=True)
class AdmissionRefused:
    """This host cannot run it as it is now, another may: its GPUs are not free, not well, or cannot be given."""

    replica_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ContainerSeen:
    """Somebody looked because something may have happened to it. None: there is no such container."""

    replica_id: str
    container: Container | None
    log_tail: tuple[str, ...] = field(default=(), repr=False)  # only of a container that has ended


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    replica_id: str
    probe: int  # its place in the list of probes
    is_ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStopped:
    replica_id: str
    exit_code: int | None
    log_tail: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class StopFailed:
    replica_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ContainerRemoved:
    replica_id: str
    note: str = ""  # why its logs were not kept


@dataclass(frozen=True, slots=True)
class RemoveFailed:
    replica_id: str
    message: str


WorkEvent = (
    PullProgressed
    | ImageReady
    | PullFailed
    | ContainerStarted
    | StartFailed
    | AdmissionAwaited
    | AdmissionRefused
    | ContainerSeen
    | ProbeAnswered
    | ContainerStopped
    | StopFailed
    | ContainerRemoved
    | RemoveFailed
)
ReplicaEvent = RunWanted | StopWanted | LeftTheList | TimePassed | WorkEvent
Event = JournalRead | ContainersFound | EngineUnavailable | AssignmentReceived | TimePassed | WorkEvent
