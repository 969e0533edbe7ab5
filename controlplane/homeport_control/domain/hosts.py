"""Hosts and their GPUs, as the control plane knows them.

Covers facts, connection and reservations. Does not cover what fits where (decide/placement).
"""

from dataclasses import dataclass
from enum import StrEnum


class Connection(StrEnum):
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; its UUID is its only name."""

    uuid: str
    name: str  # as NVML says it: "NVIDIA A100-SXM4-80GB"
    memory_total_mib: int
    memory_used_mib: int = 0
    compute_capability: str = ""  # "9.0"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What an agent says about its machine."""

    hostname: str = ""
    os: str = ""
    kernel: str = ""
    architecture: str = ""
    cpus: int = 0
    memory_mib: int = 0
    memory_available_mib: int = 0
    disk_total_mib: int = 0
    disk_free_mib: int = 0
    docker_version: str = ""
    docker_unavailable: str = ""  # why Docker does not answer; empty when it does
    driver_version: str = ""
    cuda_version: str = ""
    gpus: tuple[Gpu, ...] = ()
    gpus_unavailable: str = ""  # why there are none


@dataclass(frozen=True, slots=True)
class Host:
    id: str
    name: str
    fleet: str
    region: str
    backend: str  # "agent" (joined by itself) or "ssh"
    address: str
    connection: Connection
    connection_reason: str
    connection_since_s: float  # unix time of the last change of connection
    cordoned: bool
    facts: HostFacts
    created_at_s: float
    gateway: str = ""  # name of the gateway whose role this host has
    gateway_ready: bool = False
    gateway_message: str = ""
    cause_id: str = ""  # of the last change of its connection: what its replicas suffer from it has the same
    price: float = 0.0
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A replica's claim on a host. Held from placement until the replica has ended."""

    replica_id: str
    host_id: str
    gpu_uuids: tuple[str, ...]
    exclusive: bool  # whole GPUs; False: gpu_memory_mib of each, beside others
    gpu_memory_mib: int
    cpus: float
    memory_mib: int
    run_name: str = ""  # for the reasons that a refusal gives
    revision: int = 0
