"""The agent's frozen nouns: what it was assigned, what it sees of containers, what it tells the server.

Covers values only. Does not cover how they travel (convert), are kept (journal) or change (replica, machine).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from homeport_agent.gpus.model import Gpu


class Phase(StrEnum):
    """Where one replica stands on this host. The table of how they follow one another is `transitions.TABLE`."""

    WAITING = "waiting"
    PULLING = "pulling"
    STARTING = "starting"
    PROBING = "probing"
    READY = "ready"
    UNREADY = "unready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Wanted(StrEnum):
    RUN = "run"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Volume:
    source: str  # a host path, or the name of a named volume
    target: str
    optional: bool = False  # a host path that does not exist is left out


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe; a replica without any is probed by a TCP connect."""

    url: str  # path on the container's port
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: str = field(default="", repr=False)
    timeout_s: float = 10.0
    interval_s: float = 15.0
    ready_after: int = 1  # consecutive successes


@dataclass(frozen=True, slots=True)
class AssignedReplica:
    """One container that this host must run. Immutable under its id, but for what no container carries in itself:
    `wanted`, `revision`, `stop_grace_s`, `retry`, `probes`, `ready_timeout_s`."""

    replica_id: str
    run_name: str
    revision: int
    index: int
    wanted: Wanted
    image: str
    image_hint: str = ""  # what to do when neither a registry nor this host has it
    always_pull: bool = False
    registry_auth: RegistryAuth | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = field(default=(), repr=False)
    working_dir: str = ""
    user: str = ""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    container_port: int = 0
    gpu_uuids: tuple[str, ...] = ()
    cpu_limit: float = 0.0  # cores; 0: none
    memory_limit_mib: int = 0  # 0: none
    shm_size_mib: int = 0  # 0: the engine's own
    volumes: tuple[Volume, ...] = ()
    probes: tuple[Probe, ...] = ()
    ready_timeout_s: float = 600.0
    stop_grace_s: float = 10.0
    retry: bool = True
    privileged: bool = False
    code_id: str = ""  # what must lie in the container before it starts; empty: nothing
    code_bytes: int = 0
    gpus_shared: bool = False  # beside others; False: its GPUs are its own
    gpu_memory_mib: int = 0  # of each of its GPUs that it may use; 0: all
    secrets_known: bool = True  # False: read back from the journal, which keeps no env and no passwords


@dataclass(frozen=True, slots=True)
class GatewayRole:
    """This host is a gateway: it keeps an Envoy of its own for it, which the server configures."""

    name: str
    xds_port: int  # on the server's address, mTLS with this host's certificate
    listen_address: str
    http_port: int
    https_port: int = 0  # 0: it speaks no TLS

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Where its Envoy listens."""
        return tuple((self.listen_address, port) for port in (self.http_port, self.https_port) if port)


@dataclass(frozen=True, slots=True)
class GatewayObserved:
    name: str
    running: bool
    message: str = ""  # why it does not run
    envoy_version: str = ""


@dataclass(frozen=True, slots=True)
class TunnelTo:
    """A gateway's host that cannot dial this one: this one dials its edge and keeps tunnels there."""

    gateway_host_id: str
    address: str
    port: int
    mark: str  # what an answer that is no replica's carries, so that the gateway asks another one: nobody else knows it


@dataclass(frozen=True, slots=True)
class DoorWish:
    """Gateways of other hosts are to reach this host's replicas: these hosts may come in."""

    gateway_host_ids: tuple[str, ...]
    tunnels: tuple[TunnelTo, ...] = ()


@dataclass(frozen=True, slots=True)
class DoorObserved:
    address: str  # empty: there is no way in
    ports: tuple[int, ...]  # that are open there, each the way to the same port on loopback
    message: str = ""  # why not all are


@dataclass(frozen=True, slots=True)
class ReachTarget:
    """A port of another host's door, which this host's gateways want to dial."""

    host_id: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Reached:
    host_id: str
    error: str  # empty: it answers


@dataclass(frozen=True, slots=True)
class EdgeHost:
    """A host that dials in, and the ports of its replicas."""

    host_id: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EdgeWish:
    """Hosts that this gateway's host cannot dial are to dial it, at this port."""

    port: int
    mark: str  # see TunnelTo
    hosts: tuple[EdgeHost, ...]  # sorted


@dataclass(frozen=True, slots=True)
class EdgeObserved:
    message: str  # why it does not run; empty: it does
    hosts: tuple[EdgeHost, ...] = ()  # that have a tunnel here now, and the ports with a socket


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything that this host must run: the whole list, with a generation that only grows."""

    server_id: str
    generation: int
    replicas: tuple[AssignedReplica, ...] = ()
    gateways: tuple[GatewayRole, ...] = ()
    door: DoorWish | None = None
    reach: tuple[ReachTarget, ...] = ()
    edge: EdgeWish | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container of ours, as the engine shows it."""

    id: str
    replica_id: str
    is_running: bool
    was_started: bool = True  # False: created, never started
    exit_code: int | None = None
    oom_killed: bool = False
    ip: str = ""
    host_port: int = 0  # on the host's loopback
    pid: int = 0
    run_name: str = ""
    revision: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running container uses."""

    cpu_s: float  # processor time since its start; grows
    memory_mib: int  # without the page cache
    memory_limit_mib: int


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """How busy one GPU is; None: the driver does not say."""

    uuid: str
    memory_used_mib: int | None = None
    memory_total_mib: int | None = None
    utilisation: float | None = None  # 0 to 1


@dataclass(frozen=True, slots=True)
class ReplicaUsage:
    replica_id: str
    error: str = ""  # why there are no numbers
    at_s: float = 0.0  # this process's monotonic clock
    usage: Usage | None = None
    gpus: tuple[GpuUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """What must be remembered of a replica over a restart of the agent."""

    restarts: int = 0
    failures: int = 0  # in a row: the step of the back-off
    exits: int = 0  # before it was ever ready
    was_ready: bool = False
    is_ready: bool = False  # when this was kept
    gave_up: str = ""  # the sentence; not empty: never started again
    log_tail: tuple[str, ...] = field(default=(), repr=False)  # of the failure; may hold a program's secrets
    exit_code: int | None = None
    refused: bool = False  # with gave_up: this host could not admit it


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What the agent keeps on disk: the last accepted assignment, the history of each replica, and where those were found
    that served. `boot_id`: of the machine then; after another start of it no container runs any more."""

    assignment: Assignment
    histories: tuple[tuple[str, History], ...] = ()
    serving: tuple[Container, ...] = ()  # sorted by replica
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaObserved:
    """What the server is told of one replica."""

    replica_id: str
    phase: Phase
    message: str = ""
    host_port: int = 0
    container_id: str = ""
    restarts: int = 0
    exit_code: int | None = None
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    log_tail: tuple[str, ...] = field(default=(), repr=False)
    probes_passed: int = 0
    probes_total: int = 0
    refused: bool = False  # with FAILED: this host could not admit it


@dataclass(frozen=True, slots=True)
class HostFacts:
    hostname: str
    os: str = ""
    kernel: str = ""
    architecture: str = ""
    cpus: int = 0
    memory_mib: int = 0
    memory_available_mib: int = 0
    disk_total_mib: int = 0  # of Docker's data root
    disk_free_mib: int = 0
    docker_version: str = ""
    docker_unavailable: str = ""
    gpus: tuple[Gpu, ...] = ()
    gpus_unavailable: str = ""
    images: tuple[str, ...] = ()  # tags that Docker has, sorted


@dataclass(frozen=True, slots=True)
class LogLine:
    text: bytes = field(repr=False)
    stream: str  # "stdout" or "stderr"
    timestamp: str  # RFC 3339 with nanoseconds


@dataclass(frozen=True, slots=True)
class LogWish:
    """What one log request asks for."""

    replica_id: str
    follow: bool = False
    tail: int = -1  # last lines; 0: none, -1: all
    since_s: float = 0.0  # age in seconds; 0: no limit
    after: str = ""  # how far the reader has come (homeport_protos.logs.LogPosition)
    access: str = ""  # a service: a gateway's access log of it, instead of a replica's
    gateway: str = ""  # with access: which one of this host
