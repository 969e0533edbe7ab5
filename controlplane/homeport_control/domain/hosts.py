"""Hosts and their GPUs, as the control plane knows them.

Covers facts, connection, health and reservations. Does not cover what fits where (decide/placement), nor what is sampled
each second and never written down (agents/telemetry).
"""

from dataclasses import dataclass
from enum import StrEnum

GATEWAYS_FLEET = (
    "@gateways"  # of machines that were installed for gateways over SSH; no file's fleet can have that name
)


class Connection(StrEnum):
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"
    RELEASED = "released"  # an on-demand host that we let go: its agent does not run, and nobody misses it


class Health(StrEnum):
    """Of a GPU or a host. Ordered by badness in BADNESS."""

    HEALTHY = "healthy"
    WARNING = "warning"
    FAILING = "failing"


BADNESS = (Health.HEALTHY, Health.WARNING, Health.FAILING)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that its agent found wrong; who is healthy has none."""

    code: str  # "xid-79", "nvml-hung"
    severity: Health
    reason: str  # one sentence, with numbers
    action: str = ""  # what to do, one sentence
    since_s: float = 0.0  # unix time
    gpu_uuid: str = ""  # empty: the host


@dataclass(frozen=True, slots=True)
class GpuNear:
    uuid: str
    path: str  # "NV4", "PIX", "PXB", "PHB", "NODE", "SYS": the words of `nvidia-smi topo -m`


@dataclass(frozen=True, slots=True)
class GpuProcess:
    pid: int
    name: str
    memory_mib: int | None = None  # None: the driver does not say
    replica_id: str = ""  # of ours; empty: it is not
    container: str = ""  # another's container; empty: none
    graphics: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG instance; its UUID is its only name."""

    uuid: str
    name: str  # as NVML says it: "NVIDIA A100-SXM4-80GB"
    memory_total_mib: int
    memory_used_mib: int = 0
    compute_capability: str = ""  # "9.0"
    architecture: str = ""
    pci_bus_id: str = ""
    mig_parent: str = ""  # UUID of the GPU that this is an instance of
    mig_enabled: bool = False  # cut into instances: nothing runs on it itself
    compute_mode: str = ""
    persistence_mode: bool | None = None
    unified_memory: bool = False  # the host's memory
    near: tuple[GpuNear, ...] = ()
    processes: tuple[GpuProcess, ...] = ()  # who holds its memory


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
    images: tuple[str, ...] = ()  # tags that its Docker has


@dataclass(frozen=True, slots=True)
class Tunnel:
    """From a host to the edge of a gateway's host that cannot dial it."""

    gateway_host_id: str
    ports: tuple[int, ...] = ()  # of replicas that could be called through it when it was there last
    message: str = ""  # why there is none now; empty: there is


@dataclass(frozen=True, slots=True)
class Door:
    """The way in to a host's replicas for gateways of other hosts, as its agent tells: mutual TLS on an address of it."""

    address: str = ""  # empty: there is none
    ports: tuple[int, ...] = ()  # that are open: each leads to the same port on loopback
    message: str = ""  # why not all are
    # By gateway host: why it could not dial it when it last tried; empty: it could. None: it has not told yet.
    errors: tuple[tuple[str, str], ...] = ()
    reached_by: tuple[str, ...] = ()  # gateway hosts that could, at least once: what fails later, Envoy sees for itself
    tunnels: tuple[Tunnel, ...] = ()  # that are or were; sorted
    unheard: tuple[str, ...] = ()  # gateway hosts that could not dial it since its last report: it may be gone

    @property
    def dials(self) -> frozenset[str]:
        """Gateway hosts to whose edge it is to keep tunnels: those that could not dial it, now or earlier."""
        return frozenset(host_id for host_id, error in self.errors if error) | {
            it.gateway_host_id for it in self.tunnels
        }

    def tunnel_to(self, gateway_host_id: str) -> Tunnel | None:
        return next((it for it in self.tunnels if it.gateway_host_id == gateway_host_id), None)


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
    cause_id: str = (
        ""  # of its last change of connection, health or drain: what its replicas suffer from it has the same
    )
    price: float = 0.0
    spot: bool = False
    findings: tuple[Finding, ...] = ()
    cordoned_gpus: tuple[str, ...] = ()  # drained by an admin, by UUID
    labels: tuple[tuple[str, str], ...] = ()  # sorted
    build: str = ""  # of its agent; empty: one that the server cannot upgrade
    upgrade_error: str = ""  # "BUILD: why it did not become that"
    # Of its certificates that are good, hexadecimal, newest first: one that it has not used yet, and the one before. Empty: of
    # a host that joined before they were kept; any is good.
    serials: tuple[str, ...] = ()
    door: Door = Door()

    @property
    def is_for_gateways(self) -> bool:
        """It runs gateways only: no replica is placed there, and it needs no Docker."""
        return self.fleet == GATEWAYS_FLEET

    @property
    def health(self) -> Health:
        """The worst of the host and its GPUs."""
        return max((it.severity for it in self.findings), key=BADNESS.index, default=Health.HEALTHY)

    def health_of(self, uuid: str) -> Health:
        """Of one GPU; "": of the host itself, without its GPUs."""
        mine = (it.severity for it in self.findings if it.gpu_uuid == uuid)
        return max(mine, key=BADNESS.index, default=Health.HEALTHY)

    def barred_gpu(self, uuid: str) -> str:
        """Why a GPU gets nothing new and loses what it has; empty: it may work. A failing parent bars its instances."""
        parents = {gpu.uuid: gpu.mig_parent for gpu in self.facts.gpus if gpu.mig_parent}
        which = {uuid, parents.get(uuid, uuid)}
        for finding in self.findings:
            if finding.gpu_uuid in which and finding.severity is Health.FAILING:
                return f"is failing: {finding.reason}"
        return "is drained" if which & set(self.cordoned_gpus) else ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A replica's claim on a host. Held from placement until the replica has ended."""

    replica_id: str
    host_id: str
    gpu_uuids: tuple[str, ...]
    exclusive: bool  # whole GPUs, or none at all; False: gpu_memory_mib of each, beside others
    gpu_memory_mib: int
    cpus: float
    memory_mib: int
    run_name: str = ""  # for the reasons that a refusal gives
    revision: int = 0
