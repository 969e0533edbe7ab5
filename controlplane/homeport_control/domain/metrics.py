"""What replicas use: one reading of a host, and what the gateways counted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """None: the driver does not say."""

    uuid: str
    memory_used_mib: int | None = None
    memory_total_mib: int | None = None
    utilisation: float | None = None  # 0 to 1


@dataclass(frozen=True, slots=True)
class ReplicaUsage:
    """One replica as its host measured it. With an `error` nothing else is set."""

    replica_id: str
    error: str = ""
    cpu_s: float = 0.0  # processor time since its start; grows
    at_s: float = 0.0  # the host's monotonic clock when it was read
    memory_mib: int = 0
    memory_limit_mib: int = 0
    gpus: tuple[GpuUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Requests at one endpoint over the last few seconds."""

    requests_per_s: float
    in_flight: int


CLASSES = 5  # of status codes: 1xx to 5xx


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """What one gateway counted of one service's answers in one interval."""

    service: str
    by_class: tuple[int, ...] = (0,) * CLASSES
    below_ms: tuple[tuple[float, int], ...] = ()  # (bound, answers that took less), bounds rising


@dataclass(frozen=True, slots=True)
class EnvoyFigures:
    """A gateway's Envoy itself. None: it did not say."""

    connections: int | None = None  # of callers, open
    in_flight: int | None = None
    memory_bytes: int | None = None  # allocated
    uptime_s: int | None = None
    certificate_days: int | None = None  # until the first of its certificates expires


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """A service that is not in it was not answered anything."""

    gateway: str
    received_at_s: float
    interval_s: float  # in which was counted; 0 of what goes with the report before it
    counts: tuple[AnswerCount, ...]
    envoy: EnvoyFigures = EnvoyFigures()


@dataclass(frozen=True, slots=True)
class Answers:
    """What a service's requests were answered over the last few seconds, over all gateways."""

    per_s: tuple[float, ...] = (0.0,) * CLASSES
    p50_ms: float | None = None  # None: none was answered
    p99_ms: float | None = None
