"""Readings beside those of GPUs; common/v1/host.proto says them anew. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostReading:
    cpu: float = 0.0  # 0 to 1, of all cores
    load: tuple[float, ...] = ()  # 1, 5, 15 minutes
    memory_used_mib: int = 0
    swap_used_mib: int = 0
    swap_total_mib: int = 0
    disk_used_mib: int = 0  # of Docker's data root
    network_received_bytes_s: float = 0.0  # all interfaces but loopback
    network_sent_bytes_s: float = 0.0
    docker: str = ""  # "answers", or why not
    clock_offset_s: float | None = None  # this clock minus the server's


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """What a replica holds of its GPUs, measured."""

    replica_id: str
    gpu_memory_mib: int
    gpu_memory_peak_mib: int  # since its container was started
