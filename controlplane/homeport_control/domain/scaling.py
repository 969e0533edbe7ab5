"""How many replicas a service may have by its load: the rule of its file, what was measured, what was decided."""

from dataclasses import dataclass
from enum import StrEnum

from homeport_control.domain.replicas import Phase


class Metric(StrEnum):
    RPS = "rps"  # requests per second of one replica
    CONCURRENCY = "concurrency"  # requests in flight of one replica


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """`replicas: min..max` and `scaling` of a file."""

    metric: Metric
    target: float  # of one replica, in the metric's unit
    min: int  # 0: to zero
    max: int
    scale_up_delay_s: float
    scale_down_delay_s: float
    window_s: float  # over which load is averaged


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One service in one second, over all gateways that carry it."""

    at_s: float  # its end, unix seconds
    rps: float  # requests that were sent to replicas, and those that began to be held
    in_flight: int  # at its end, those that are held not among them
    held: int = 0  # requests that wait for a first replica


@dataclass(frozen=True, slots=True)
class Alike:
    """So many replicas of a run, wanted and not ended, are in this way alike."""

    revision: int
    phase: Phase
    in_rotation: bool
    lost: bool
    has_host: bool
    was_ready: bool
    number: int
    message: str = ""  # of one of them, without a host: why it has none


@dataclass(frozen=True, slots=True)
class ScaledRun:
    """A run that is wanted, as far as scaling goes by it."""

    id: str
    name: str
    revision: int  # the newest that was not given up
    scaled_to: int | None
    proven_revision: int | None
    cause_id: str
    replicas: tuple[Alike, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    to: int
    because: str  # a sentence with numbers


@dataclass(frozen=True, slots=True)
class Hold:
    because: str


Verdict = Scale | Hold
