"""What health remembers: the GPUs it has known, what is wrong with each, how often one came and went. Values only."""

from dataclasses import dataclass, field
from enum import StrEnum

from homeport_agent.gpus.model import Finding, Gpu, Severity


@dataclass(frozen=True, slots=True)
class HostLook:
    """How the host is, beside its GPUs. None and 0: not known."""

    docker_unavailable: str = ""  # why Docker does not answer; empty: it answers
    disk_total_mib: int = 0  # of Docker's data root
    disk_free_mib: int = 0
    clock_offset_s: float | None = None  # the host's clock minus the server's


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that can be seen now. It becomes a finding when it has lasted."""

    code: str
    reason: str
    action: str
    severity: Severity = Severity.FAILING
    after_s: float = 0.0  # how long it must hold to be a finding
    failing_after_s: float | None = None  # a warning that is failing once it has held for so long
    ends_after_s: float = 10.0  # how long it must be gone for the finding to end
    latches: bool = False  # once a finding, it ends only by a proof
    speaks_against: bool = True  # no proof is tried while it holds


@dataclass(frozen=True, slots=True)
class Condition:
    """A sign over time. Lengths are counted in looks, so that a clock that is set neither makes nor ends a finding."""

    sign: Sign
    since_s: float  # unix time
    held_s: float = 0.0
    gone_s: float = 0.0

    @property
    def severity(self) -> Severity | None:
        """None: it has not lasted long enough."""
        if self.held_s < self.sign.after_s:
            return None
        late = self.sign.failing_after_s
        return Severity.FAILING if late is not None and self.held_s >= late else self.sign.severity


@dataclass(frozen=True, slots=True)
class Mark:
    """A counter as it was at the beginning of a window."""

    counter: str
    value: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Flaps:
    """How often a GPU was well and failed again."""

    is_failing: bool = False
    backs_s: tuple[float, ...] = ()  # when it came back, in this row; at most MOST_BACKS
    hold_s: float = 0.0  # how long it must be well before it counts as healthy
    watched_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """The check that proves a GPU: how it went so far."""

    failures: int = 0  # in a row, also those that could not tell
    next_s: float = 0.0
    unable: str = ""  # why CUDA cannot tell; NVML must


@dataclass(frozen=True, slots=True)
class KnownGpu:
    """One GPU that was seen once, and all that is remembered of it."""

    gpu: Gpu  # as it was seen last; without a name: only its UUID is known
    is_seen: bool = False  # in the last look
    good_s: float = 0.0  # how long nothing that NVML tells speaks against it
    latched: tuple[Finding, ...] = ()  # what ends only by a proof
    conditions: tuple[Condition, ...] = ()
    xids: tuple[tuple[int, float], ...] = ()  # (code, unix time) of late, oldest first
    marks: tuple[Mark, ...] = ()
    ecc_uncorrected: int | None = None  # the volatile counter when it was seen last
    flaps: Flaps = Flaps()
    trial: Trial = Trial()


@dataclass(frozen=True, slots=True)
class Memory:
    gpus: tuple[KnownGpu, ...] = ()  # by UUID
    host: tuple[Condition, ...] = ()
    loose: tuple[Finding, ...] = ()  # latched, of no GPU that has a name
    looked_s: float = 0.0  # unix time of the last look; 0: never

    def find(self, uuid: str) -> KnownGpu | None:
        return next((it for it in self.gpus if it.gpu.uuid == uuid), None)


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNABLE = "unable"  # it could not tell: no CUDA here, or no place for it


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    sentence: str = field(default="")
