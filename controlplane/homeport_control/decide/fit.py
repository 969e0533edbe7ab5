"""Whether a host fits one replica, and if not, why, with numbers; and which of its GPUs the replica would get.

Pure. Does not compare hosts that fit (placement).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeport_control.decide.capacity import Capacity, gigabytes
from homeport_control.decide.gpus import has_capability, has_memory, is_named, size_gb
from homeport_control.decide.progress import plural
from homeport_control.domain.hosts import Connection, Gpu, Host
from homeport_control.spec.gpu import GpuSpec, memory_range_text
from homeport_control.spec.ranges import range_text
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

    def at_home(self, homes: Mapping[str, str], hosts: Mapping[str, Host]) -> "Ask":
        """The same, told where its volumes are: `homes` from volume to host id, `hosts` by id."""
        known = [(name, homes[name]) for name in self.volumes if name in homes]
        return replace(
            self,
            homes=tuple(Home(name, at, hosts[at].name if at in hosts else "a host that is gone") for name, at in known),
        )

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


@dataclass(frozen=True, slots=True)
class Lack:
    """One reason against a host. Of several hosts with the same kind the one with the most `has` stands for all."""

    kind: str
    text: str  # "needs 8 cpus, 4 free", "is cordoned"
    has: float = 0.0
    counted: str = ""  # where the text does not begin with a verb of the host: one that does

    @property
    def verb_text(self) -> str:
        """Begins with a verb of the host, so that hosts can be counted before it."""
        return self.counted or self.text


def lacks(capacity: Capacity, ask: Ask, now_s: float) -> tuple[tuple[Lack, ...], tuple[Gpu, ...]]:
    """All reasons against the host, weightiest first; or none, and the GPUs that the replica would get."""
    found = _barred(capacity.host, ask, now_s)
    if found is not None:
        return (found,), ()
    short: list[Lack] = []
    if ask.cpus > capacity.cpus:
        total = f" of {capacity.host.facts.cpus}" if capacity.reserved_by else ""
        text = f"needs {ask.cpus:g} cpus, {max(0.0, capacity.cpus):g}{total} free"
        short.append(Lack("cpu", text, capacity.cpus))
    if ask.memory_mib > capacity.memory_mib:
        total = f" of {gigabytes(capacity.host.facts.memory_mib)}" if capacity.reserved_by else ""
        text = f"needs {gigabytes(ask.memory_mib)} of memory, {gigabytes(max(0, capacity.memory_mib))}{total} free"
        short.append(Lack("memory", text, capacity.memory_mib))
    if ask.disk_mib > capacity.disk_mib:
        text = f"needs {gigabytes(ask.disk_mib)} of disk, {gigabytes(capacity.disk_mib)} free"
        short.append(Lack("disk", text, capacity.disk_mib))
    gpus: tuple[Gpu, ...] = ()
    if ask.resources.gpu is not None:
        answer = choose_gpus(capacity, ask.resources.gpu)
        if isinstance(answer, Lack):
            short.insert(0, answer)
        else:
            gpus = answer
    return tuple(short), gpus if not short else ()


def _barred(host: Host, ask: Ask, now_s: float) -> Lack | None:
    """What no free resource could heal: the run's policies, data that is elsewhere, and the state of the host."""
    filters = ask.filters
    for kind, wanted, values in (
        ("fleet", filters.fleets, (host.fleet,)),
        ("host", filters.hosts, (host.name, host.id, host.address)),
        ("backend", filters.backends, (host.backend,)),
        ("region", filters.regions, (host.region,)),
    ):
        if wanted and not set(wanted) & set(values):
            return Lack(kind, f"is {kind} {values[0]}, the run asks for {' or '.join(wanted)}")
    if filters.instance_types:
        return Lack("type", f"has no instance type, the run asks for {' or '.join(filters.instance_types)}")
    if filters.spot_policy == "spot" and not host.spot:
        return Lack("spot", "is not spot, the run asks for spot")
    if filters.spot_policy == "on-demand" and host.spot:
        return Lack("spot", "is spot, the run asks for on-demand")
    if filters.max_price is not None and host.price > filters.max_price:
        return Lack("price", f"costs ${host.price:g} an hour, max_price is ${filters.max_price:g}", -host.price)
    for home in ask.homes:
        if home.host_id != host.id:
            return Lack(
                "volume",
                f"volume data is on {home.host}",
                0.0,
                f"has not the data of volume {home.volume}, {home.host} has",
            )
    if host.connection is not Connection.CONNECTED:
        away_s = max(0.0, now_s - host.connection_since_s)
        return Lack("unreachable", f"is unreachable since {away_s:.0f} s", -away_s)
    if host.cordoned:
        return Lack("cordoned", "is cordoned")
    if host.facts.docker_unavailable:
        return Lack("docker", f"has no Docker: {host.facts.docker_unavailable.rstrip('.')}")
    return None


def choose_gpus(capacity: Capacity, spec: GpuSpec) -> tuple[Gpu, ...] | Lack:
    """Whole GPUs, as few as the count's range and the total memory allow: what is left can serve others.

    Of one kind if possible, the smallest kind that will do; within a kind by UUID.
    """
    if spec.shared:
        return Lack("shared", "needs a part of one GPU; `shared: true` is not supported yet")
    least = spec.count.min or 1
    every = sorted([*capacity.free_gpus, *(taken.gpu for taken in capacity.taken_gpus)], key=lambda gpu: gpu.uuid)
    unfit = _unfit(capacity.host, every, spec, least)
    if unfit is not None:
        return unfit
    fitting = [gpu for gpu in capacity.free_gpus if _fits(gpu, spec)]
    if len(fitting) < least:
        return _taken(capacity, every, spec, least)
    kinds: dict[tuple[int, str], list[Gpu]] = {}
    for gpu in fitting:
        kinds.setdefault((size_gb(gpu), gpu.name), []).append(gpu)
    by_size = sorted(fitting, key=lambda gpu: (gpu.memory_total_mib, gpu.uuid))
    for group in [*(kinds[kind] for kind in sorted(kinds)), fitting, by_size, by_size[::-1]]:
        for count in range(least, min(len(group), spec.count.max or len(group)) + 1):
            if has_memory(sum(gpu.memory_total_mib for gpu in group[:count]), spec.total_memory_mib):
                return tuple(sorted(group[:count], key=lambda gpu: gpu.uuid))
    usable = sum(gpu.memory_total_mib for gpu in by_size[::-1][: spec.count.max])
    wanted = memory_range_text(spec.total_memory_mib) if spec.total_memory_mib is not None else "any"
    text = f"needs {wanted} of GPU memory in total, {plural(len(fitting), 'free GPU')} with {gigabytes(usable)}"
    return Lack("gpu-total", text, usable)


def _fits(gpu: Gpu, spec: GpuSpec) -> bool:
    return (
        (not spec.names or any(is_named(gpu, name) for name in spec.names))
        and has_memory(gpu.memory_total_mib, spec.memory_mib)
        and has_capability(gpu, spec.compute_capability)
    )


def _unfit(host: Host, gpus: Sequence[Gpu], spec: GpuSpec, least: int) -> Lack | None:
    """Why the GPUs of the host would not do even if all were free."""
    if not gpus:
        why = f" ({host.facts.gpus_unavailable.rstrip('.')})" if host.facts.gpus_unavailable else ""
        return Lack("gpu-none", f"needs {plural(least, 'GPU')}, there are none{why}")
    if spec.vendor not in {None, "nvidia"}:  # agents report GPUs by NVML only
        return Lack("gpu-vendor", f"needs a GPU by {spec.vendor}, there are only ones by nvidia")
    if len(gpus) < least:
        return Lack("gpu-count", f"needs {plural(least, 'GPU')}, there {_are(len(gpus))}", len(gpus))
    named = [gpu for gpu in gpus if not spec.names or any(is_named(gpu, name) for name in spec.names)]
    if len(named) < least:
        return _too_few("gpu-name", f"{least} of {' or '.join(spec.names)}", {gpu.name for gpu in gpus}, len(named))
    able = [gpu for gpu in named if has_capability(gpu, spec.compute_capability)]
    if len(able) < least and spec.compute_capability is not None:
        wanted = range_text(spec.compute_capability, lambda end: f"{end:.1f}")
        found = {gpu.compute_capability or "an unknown one" for gpu in named}
        return _too_few("gpu-capability", f"compute capability {wanted} on {plural(least, 'GPU')}", found, len(able))
    large = [gpu for gpu in able if has_memory(gpu.memory_total_mib, spec.memory_mib)]
    if len(large) < least and spec.memory_mib is not None:
        wanted = f"{memory_range_text(spec.memory_mib)} on {plural(least, 'GPU')}"
        most_mib = max(gpu.memory_total_mib for gpu in able)
        found = {gigabytes(gpu.memory_total_mib) for gpu in able}
        lack = _too_few("gpu-memory", wanted, found, len(large))
        return Lack(lack.kind, lack.text, most_mib)
    return None


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"


def _too_few(kind: str, wanted: str, found: set[str], fitting: int) -> Lack:
    some = f"only {fitting} fitting among" if fitting else "there is only"
    return Lack(kind, f"needs {wanted}, {some} {' and '.join(sorted(found))}", fitting)


def _taken(capacity: Capacity, every: Sequence[Gpu], spec: GpuSpec, least: int) -> Lack:
    """The right GPUs are there, and others have them."""
    fitting = [gpu for gpu in every if _fits(gpu, spec)]
    held = [taken for taken in capacity.taken_gpus if _fits(taken.gpu, spec)]
    reasons = "; ".join(dict.fromkeys(taken.reason for taken in held))
    free = len(fitting) - len(held)
    if spec.memory_mib is not None and least == 1:
        largest_mib = max(_left_mib(taken.gpu, taken.foreign) for taken in held)
        text = f"needs {memory_range_text(spec.memory_mib)} on 1 GPU, largest free {gigabytes(largest_mib)} ({reasons})"
        return Lack("gpu-taken", text, largest_mib)
    text = f"needs {plural(least, 'GPU')}, {free} of {len(fitting)} free ({reasons})"
    return Lack("gpu-taken", text, free)


def _left_mib(gpu: Gpu, foreign: bool) -> int:
    return max(0, gpu.memory_total_mib - gpu.memory_used_mib) if foreign else 0
