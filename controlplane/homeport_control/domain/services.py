"""Runs (a service that was applied, by name) and their revisions (immutable versions of its configuration)."""

from dataclasses import dataclass
from enum import StrEnum


class RunState(StrEnum):
    PENDING = "pending"
    SUBMITTED = "submitted"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
    DONE = "done"

    @property
    def is_finished(self) -> bool:
        return self in {RunState.TERMINATED, RunState.FAILED, RunState.DONE}


class RunWanted(StrEnum):
    RUN = "run"
    STOP = "stop"  # drain, SIGTERM, stop_duration, SIGKILL
    ABORT = "abort"  # SIGKILL


@dataclass(frozen=True, slots=True)
class Revision:
    run_id: str
    number: int  # 1, 2, ...
    spec_json: str  # the normalised configuration (spec.service.ServiceSpec), without secrets
    created_at_s: float
    user: str = ""
    failed: str = ""  # why it was given up; the newest revision that was not is what is wanted
    code_id: str = ""  # of the code that was sent along; empty: none
    code_bytes: int = 0
    gpu_memory_peak_mib: int | None = None  # the most that one replica of it has held; None: not measured yet


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    name: str
    user: str
    wanted: RunWanted
    state: RunState
    reason: str
    submitted_at_s: float
    ended_at_s: float | None
    revisions: tuple[Revision, ...]  # oldest first; never empty
    running_since_s: float | None = None  # first time that a replica of it was in rotation; max_duration counts from it
    ever_published: bool = False  # a replica of it has been in rotation
    log_tail: tuple[str, ...] = ()  # of the replica that made it fail
    cause_id: str = ""  # of the last apply, stop or scaling
    scaled_to: int | None = None  # replicas, by its load or by the last apply; None: a new one (decide/scaling.py)
    proven_revision: int | None = None  # one that has worked, of which no replica may be left: it sleeps, or slept

    @property
    def newest(self) -> Revision:
        return self.revisions[-1]

    @property
    def current(self) -> Revision | None:
        """The newest revision that was not given up; None when all were."""
        return next((revision for revision in reversed(self.revisions) if not revision.failed), None)

    def revision(self, number: int) -> Revision:
        """Numbers count from 1 without a gap."""
        return self.revisions[number - 1]
