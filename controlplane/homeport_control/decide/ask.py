"""What one waiting replica asks of a host: its resources, the run's policies, where its volumes are, its image.

Pure nouns. Does not decide whether a host fits (fit).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from homeport_control.domain.hosts import Host
from homeport_control.spec.resources import Resources
from homeport_control.spec.service import ServiceSpec


@dataclass(frozen=True, slots=True)
class Filters:
    """Policies of a run. Empty: everything will do."""

    fleets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  # names, ids or addresses
    backends: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()  # own hosts have none
    max_price: float | None = None  # per hour
    spot_policy: str | None = None  # "spot", "on-demand"; anything else takes both
    labels: tuple[str, ...] = ()  # "rack=a"; a host must have all of them
    reuse: bool = False  # only hosts that are connected: none is brought up for it

    @classmethod
    def of(cls, spec: ServiceSpec) -> "Filters":
        return cls(
            fleets=spec.fleets,
            hosts=spec.hosts,
            backends=spec.backends,
            regions=spec.regions,
            instance_types=spec.instance_types,
            max_price=spec.max_price,
            spot_policy=spec.spot_policy,
            labels=spec.host_labels,
            reuse=spec.creation_policy == "reuse",
        )


@dataclass(frozen=True, slots=True)
class Home:
    """The host that has the data of a named volume."""

    volume: str
    host_id: str
    host: str  # name


@dataclass(frozen=True, slots=True)
class Ask:
    """One replica that waits for a host."""

    replica_id: str
    run_name: str
    resources: Resources = field(default_factory=Resources)
    filters: Filters = Filters()
    revision: int = 0
    volumes: tuple[str, ...] = ()  # named ones that it mounts
    homes: tuple[Home, ...] = ()  # of those that are somewhere already: it runs there or nowhere
    image: str = ""  # as the service names it; empty: not known, so no host is better for having it

    def at_home(self, homes: Mapping[str, str], hosts: Mapping[str, Host]) -> "Ask":
        """The same, told where its volumes are: `homes` from volume to host id, `hosts` by id."""
        known = [(name, homes[name]) for name in self.volumes if name in homes]
        if not known and not self.homes:
            return self
        return replace(
            self,
            homes=tuple(Home(name, at, hosts[at].name if at in hosts else "a host that is gone") for name, at in known),
        )

    @property
    def is_shared(self) -> bool:
        return self.resources.gpu is not None and self.resources.gpu.shared

    @property
    def gpu_memory_mib(self) -> int:
        """What a shared replica reserves of its GPU; 0 for one that gets whole GPUs, or none."""
        gpu = self.resources.gpu
        return (gpu.memory_mib.min or 0) if gpu is not None and gpu.shared and gpu.memory_mib is not None else 0

    @property
    def cpus(self) -> float:
        """What is reserved: the minimum. An upper end sets no limit to the host: it is yours, and not paid by size."""
        cpu = self.resources.cpu
        return float(cpu.min or 0) if cpu is not None else 0.0

    @property
    def memory_mib(self) -> int:
        memory = self.resources.memory_mib
        return (memory.min or 0) if memory is not None else 0

    @property
    def disk_mib(self) -> int:
        """Must be free when it is placed; disk is not reserved."""
        disk = self.resources.disk_mib
        return (disk.min or 0) if disk is not None else 0


def image_tag(image: str) -> str:
    """As Docker lists it: "busybox" is "busybox:latest", "docker.io/library/busybox:1" is "busybox:1"."""
    name = image.removeprefix("docker.io/").removeprefix("library/")
    if not name or "@" in name or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"
