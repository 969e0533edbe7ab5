"""Hosts and GPUs as samples. PURE: what the database and the newest readings say, in; families, out.

GPUs have the labels of NVIDIA's dcgm-exporter (UUID, modelName, Hostname, pci_bus_id): a dashboard's variables fit both.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from homeport_control.domain.hosts import BADNESS, Connection, Gpu, Host, Reservation
from homeport_control.metrics.families import Family, Gauges, gauge

MIB = 1 << 20
HOST = ("Hostname", "fleet")
GPU = ("UUID", "modelName", "Hostname", "pci_bus_id", "fleet")


class GpuReading(Protocol):
    """What an agent measured a moment ago; HasField tells what the driver says at all."""

    memory_used_mib: int
    utilisation: float
    memory_utilisation: float
    temperature_c: float
    power_w: float
    power_limit_w: float
    sm_clock_mhz: int
    memory_clock_mhz: int
    ecc_volatile_corrected: int
    ecc_volatile_uncorrected: int
    pcie_replays: int
    nvlink_errors: int

    @property
    def throttled(self) -> Iterable[str]: ...
    def HasField(self, field_name: str, /) -> bool: ...


class HostReading(Protocol):
    cpu: float
    memory_used_mib: int
    disk_used_mib: int
    network_received_bytes_s: float
    network_sent_bytes_s: float
    clock_offset_s: float

    def HasField(self, field_name: str, /) -> bool: ...


class Reading(Protocol):
    @property
    def host(self) -> HostReading | None: ...
    @property
    def gpus(self) -> Mapping[str, GpuReading]: ...


def families(
    hosts: Iterable[Host], reservations: Iterable[Reservation], reading_of: Callable[[str], Reading | None]
) -> list[Family]:
    of_hosts, of_gpus, throttled = _hosts(), _gpus(), []
    claimed: dict[str, tuple[int, float]] = {}
    for claim in reservations:
        for uuid in claim.gpu_uuids:
            holders, mib = claimed.get(uuid, (0, 0.0))
            claimed[uuid] = holders + 1, mib + claim.gpu_memory_mib
    for host in hosts:
        reading = reading_of(host.id)
        _add_host(of_hosts, host, reading.host if reading else None)
        for gpu in host.facts.gpus:
            labels = (gpu.uuid, gpu.name, host.name, gpu.pci_bus_id, host.fleet)
            measured = reading.gpus.get(gpu.uuid) if reading else None
            _add_gpu(of_gpus, labels, host, gpu, claimed.get(gpu.uuid, (0, 0.0)), measured)
            throttled += [((*labels, why), 1.0) for why in (measured.throttled if measured else ())]
    return [
        *of_hosts.families,
        *of_gpus.families,
        gauge(
            "homeport_gpu_throttled", "1 for each reason that holds its clocks down now.", (*GPU, "reason"), throttled
        ),
    ]


def _hosts() -> Gauges:
    return Gauges(
        "homeport_host",
        HOST,
        {
            "up": "1: its agent is connected.",
            "health": "0 healthy, 1 warning, 2 failing: the worst of the host and its GPUs.",
            "cordoned": "1: drained by an admin, it gets nothing new.",
            "findings": "What its agent finds wrong now.",
            "cpus": "Processors.",
            "cpu_ratio": "Share of all its processors that is used, 0 to 1.",
            "memory_total_bytes": "Memory.",
            "memory_used_bytes": "Memory that is used.",
            "disk_total_bytes": "Size of the file system that Docker's data lies on.",
            "disk_used_bytes": "What is used of it.",
            "network_receive_bytes_per_second": "Received over all interfaces but loopback.",
            "network_transmit_bytes_per_second": "Sent over all interfaces but loopback.",
            "clock_offset_seconds": "Its clock minus the server's.",
        },
    )


def _add_host(of_hosts: Gauges, host: Host, reading: HostReading | None) -> None:
    labels = (host.name, host.fleet)
    of_hosts.add(
        labels,
        up=host.connection is Connection.CONNECTED,
        health=BADNESS.index(host.health),
        cordoned=host.cordoned,
        findings=len(host.findings),
        cpus=host.facts.cpus,
        memory_total_bytes=host.facts.memory_mib * MIB,
        disk_total_bytes=host.facts.disk_total_mib * MIB,
    )
    if reading is not None:
        of_hosts.add(
            labels,
            cpu_ratio=reading.cpu,
            memory_used_bytes=reading.memory_used_mib * MIB,
            disk_used_bytes=reading.disk_used_mib * MIB,
            network_receive_bytes_per_second=reading.network_received_bytes_s,
            network_transmit_bytes_per_second=reading.network_sent_bytes_s,
            clock_offset_seconds=reading.clock_offset_s if reading.HasField("clock_offset_s") else None,
        )


def _gpus() -> Gauges:
    return Gauges(
        "homeport_gpu",
        GPU,
        {
            "health": "0 healthy, 1 warning, 2 failing.",
            "barred": "1: it gets nothing new; it is failing, or drained.",
            "memory_total_bytes": "Memory.",
            "memory_used_bytes": "Memory that is used, by whomever.",
            "memory_reserved_bytes": "What replicas have reserved of it; one that has it for itself reserves all.",
            "replicas": "Replicas that have reserved it, or a part of it.",
            "processes": "Processes that hold memory of it.",
            "utilisation_ratio": "Share of the time in which a kernel ran, 0 to 1.",
            "memory_utilisation_ratio": "Share of the time in which its memory was read or written, 0 to 1.",
            "temperature_celsius": "Temperature.",
            "power_watts": "Power that it draws.",
            "power_limit_watts": "Power that it may draw.",
            "sm_clock_hertz": "Clock of its multiprocessors.",
            "memory_clock_hertz": "Clock of its memory.",
            "ecc_corrected_errors": "Memory errors that were corrected since its driver was loaded.",
            "ecc_uncorrected_errors": "Memory errors that were not, since its driver was loaded.",
            "pcie_replays": "Packets that were sent again over PCIe.",
            "nvlink_errors": "CRC, replay and recovery errors of all its links.",
        },
    )


# Of a reading: the field, the gauge, and what one of it is in the gauge's unit.
_MEASURED = (
    ("utilisation", "utilisation_ratio", 1.0),
    ("memory_utilisation", "memory_utilisation_ratio", 1.0),
    ("temperature_c", "temperature_celsius", 1.0),
    ("power_w", "power_watts", 1.0),
    ("power_limit_w", "power_limit_watts", 1.0),
    ("sm_clock_mhz", "sm_clock_hertz", 1e6),
    ("memory_clock_mhz", "memory_clock_hertz", 1e6),
    ("ecc_volatile_corrected", "ecc_corrected_errors", 1.0),
    ("ecc_volatile_uncorrected", "ecc_uncorrected_errors", 1.0),
    ("pcie_replays", "pcie_replays", 1.0),
    ("nvlink_errors", "nvlink_errors", 1.0),
)


def _add_gpu(
    of_gpus: Gauges,
    labels: tuple[str, ...],
    host: Host,
    gpu: Gpu,
    claimed: tuple[int, float],
    measured: GpuReading | None,
) -> None:
    """`claimed`: how many replicas have a part of it, and how many MiB; 0 MiB of one that has it for itself."""
    holders, mib = claimed
    used_mib = measured.memory_used_mib if measured is not None and measured.HasField("memory_used_mib") else None
    of_gpus.add(
        labels,
        health=BADNESS.index(host.health_of(gpu.uuid)),
        barred=bool(host.barred_gpu(gpu.uuid)),
        memory_total_bytes=gpu.memory_total_mib * MIB,
        memory_used_bytes=None if used_mib is None else used_mib * MIB,
        memory_reserved_bytes=(mib if mib or not holders else gpu.memory_total_mib) * MIB,
        replicas=holders,
        processes=len(gpu.processes),
    )
    if measured is not None:
        said = {name: getattr(measured, field) * unit for field, name, unit in _MEASURED if measured.HasField(field)}
        of_gpus.add(labels, **said)
