"""What one turn about one run is told, and what it answers: the goal, the instructions, the step.

Covers the values only. Does not cover how they are chosen (rollout, winddown) or carried out (loops).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from homeport_control.domain.services import RunState, RunWanted

NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted of one run. Times are unix seconds."""

    run_name: str
    wanted: RunWanted
    revision: int  # the newest that was not given up
    count: int  # replicas wanted
    stop_duration_s: float  # bounds drain and SIGTERM together
    retry: bool = True
    max_duration_s: float | None = None
    running_since_s: float | None = None  # when a replica of the run was in rotation for the first time
    ever_published: bool = False  # a replica of any revision has been in rotation
    revision_proven: bool = False  # a replica of `revision` has been ready; also seen from the replicas themselves
    fallback_revision: int | None = None  # the newest before `revision` that was not given up
    surge: int = 1  # replicas beside `count` that a rollout may hold
    max_unavailable: int = 0  # fewer than `count` that may serve while a rollout replaces old ones; for nothing else
    min_ready_s: float = 0.0  # a new replica must have been ready this long to take an old one's place
    finished: RunState | None = None  # the run ended before; only what is left of it is cleared away
    displaced: Mapping[str, str] = field(
        default_factory=lambda: NOBODY
    )  # by replica id: why it must leave its host or its GPU (displace)
    in_flight: Mapping[str, int] | None = None  # requests by replica id; None: not known
    warned: Collection[str] = ()  # ids of replicas on a host or GPU that has a warning


@dataclass(frozen=True, slots=True)
class CreateReplica:
    """Make a replica that wants to run and has no host yet."""

    index: int
    revision: int
    because: str


@dataclass(frozen=True, slots=True)
class DrainReplica:
    """Out of rotation first: set wanted DRAIN and drain_started_at_s."""

    replica_id: str
    because: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Set wanted STOP: SIGTERM, `grace_s`, SIGKILL."""

    replica_id: str
    grace_s: float
    because: str


@dataclass(frozen=True, slots=True)
class EndReplica:
    """Nothing is left of it: set ended_at_s, free its reservation, take it off its host's list."""

    replica_id: str
    because: str


@dataclass(frozen=True, slots=True)
class GiveUpRevision:
    """Mark the revision as failed; the next turn's goal is the one before it, whose replicas went on serving."""

    revision: int
    because: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishRun:
    """Nothing of the run runs any more that could be reached; `state` is a finished one."""

    state: RunState
    because: str
    log_tail: tuple[str, ...] = ()


Action = CreateReplica | DrainReplica | StopReplica | EndReplica | GiveUpRevision | FinishRun


@dataclass(frozen=True, slots=True)
class Step:
    """`actions` in the order in which they are carried out, in one transaction."""

    actions: tuple[Action, ...]
    state: RunState
    reason: str  # one sentence
    wake_at_s: float | None = None  # the next time that matters even when nothing happens
