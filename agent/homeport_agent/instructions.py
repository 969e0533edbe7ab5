"""What to do, in the imperative: all that the machine ever asks of the runner.

Every one names its replica; the runner does at most one piece of work for a replica at a time, in this order.
"""

from dataclasses import dataclass

from homeport_agent.model import AssignedReplica, Container


@dataclass(frozen=True, slots=True)
class PullImage:
    replica_id: str
    assigned: AssignedReplica


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create it if there is none, then start it."""

    replica_id: str
    assigned: AssignedReplica


@dataclass(frozen=True, slots=True)
class RestartContainer:
    """Stop it (SIGTERM, grace, SIGKILL) and start the same container again."""

    replica_id: str
    assigned: AssignedReplica
    grace_s: float


@dataclass(frozen=True, slots=True)
class StopContainer:
    """SIGTERM, grace, SIGKILL. Overtakes a pull or a slower stop that is under way."""

    replica_id: str
    grace_s: float
    with_logs: bool = False  # a failure: its last lines are wanted


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    replica_id: str


@dataclass(frozen=True, slots=True)
class StartProbing:
    replica_id: str
    assigned: AssignedReplica
    container: Container


@dataclass(frozen=True, slots=True)
class StopProbing:
    replica_id: str


Instruction = (
    PullImage | StartContainer | RestartContainer | StopContainer | RemoveContainer | StartProbing | StopProbing
)
