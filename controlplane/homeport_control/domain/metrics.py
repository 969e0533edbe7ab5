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
