"""Replicas: one container of a revision. Three words, never one for two: wanted, assigned, observed.

`wanted` is the control plane's, `host_id` is the assignment, `phase` and what stands beside it are observed.
"""

from dataclasses import dataclass
from enum import StrEnum


class Wanted(StrEnum):
    RUN = "run"
    DRAIN = "drain"  # out of rotation first; the container goes on until its requests are done
    STOP = "stop"


class Phase(StrEnum):
    """What the agent says of it; QUEUED only before any agent knows it."""

    QUEUED = "queued"
    WAITING = "waiting"
    PULLING = "pulling"
    STARTING = "starting"
    PROBING = "probing"
    READY = "ready"
    UNREADY = "unready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Replica:
    id: str
    run_id: str
    index: int
    revision: int
    wanted: Wanted
    created_at_s: float
    host_id: str | None = None
    phase: Phase = Phase.QUEUED
    message: str = ""
    host_port: int = 0
    restarts: int = 0
    exit_code: int | None = None
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    probes_passed: int = 0
    probes_total: int = 0
    log_tail: tuple[str, ...] = ()
    first_ready_at_s: float | None = None  # when it was ready for the first time
    in_rotation: bool = False  # every gateway has acknowledged its endpoint
    drain_started_at_s: float | None = None
    drained_at_s: float | None = None  # its gateways acknowledged DRAINING and its requests in flight were 0
    stop_grace_s: float = 0.0  # with STOP: SIGTERM, this long, SIGKILL
    lost: bool = False  # its host has been away for longer than lost_after; replaced, fenced when the host returns
    ended_at_s: float | None = None  # nothing of it is left; its reservation is free
    gpu_uuids: tuple[str, ...] = ()
    cause_id: str = ""  # of the last change of it: the same for all that follows from one thing
    refused: bool = (
        False  # with FAILED: its host could not admit it; it is placed elsewhere and is no failure of the run
    )

    @property
    def is_live(self) -> bool:
        """It counts towards what is wanted: not ended, not given up, not lost, not on its way out."""
        return (
            self.ended_at_s is None and self.wanted is Wanted.RUN and not self.lost and self.phase is not Phase.FAILED
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """One replica in one report of its agent."""

    replica_id: str
    phase: Phase
    message: str = ""
    host_port: int = 0
    container_id: str = ""
    restarts: int = 0
    exit_code: int | None = None
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    probes_passed: int = 0
    probes_total: int = 0
    log_tail: tuple[str, ...] = ()
    refused: bool = False
