"""The fleet as a page shows it: messages of the API in, values out. Pure.

Covers hosts, what is wrong with them, and the summary. GPUs: gpu_cells. No value holds an age: a page that nothing happens to
is not drawn again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.dashboard.gpu_cells import GpuCell, gpu_cells, used_mib_of
from homeport_control.dashboard.words import counted, gb, gb_of, key_of, percent, tone

RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Trouble:
    tone: str
    code: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class HostHead:
    """The line above its GPUs."""

    name: str
    fleet: str
    address: str
    state: str
    tone: str
    resources: str
    replicas: str
    cpu: str
    memory: str


@dataclass(frozen=True, slots=True)
class HostNotes:
    """Below its GPUs: what is wrong, and what can be done."""

    host_id: str
    name: str
    reason: str
    since_s: float  # unix time; 0: not told
    troubles: tuple[Trouble, ...]
    is_cordoned: bool
    has_joined: bool


@dataclass(frozen=True, slots=True)
class HostCells:
    key: str
    head: HostHead
    gpus: tuple[GpuCell, ...]
    notes: HostNotes


@dataclass(frozen=True, slots=True)
class Summary:
    hosts: str
    away: int
    gpus: int
    free_gpus: int
    memory: str
    memory_percent: int
    busy_percent: int | None
    failing: int
    warning: int
    drained: int


def host_cells(host: api_pb2.Host, before: tuple[api_pb2.Host, HostCells] | None = None) -> HostCells:
    """`before`: of the same host, from which is taken what is the same."""
    facts = host.facts
    reading = host.reading if host.HasField("reading") else None
    connection = host.connection if host.connection not in {"", "connected", RELEASED} else ""
    worst = next((word for word in ("failing", "warning") if host.health == word), "")
    state = connection or worst or host.state
    if host.cordoned and host.state != "draining":
        state = f"{state}, drained"
    head = HostHead(
        name=host.name or host.address,
        fleet=host.fleet,
        address=host.address,
        state=state,
        tone=tone(connection or worst or ("draining" if host.cordoned else host.state)),
        resources=host.resources,
        replicas=counted(host.replicas, "replica") if host.replicas else "",
        cpu=f"{reading.cpu:.0%}" if reading else "",
        memory=gb_of(reading.memory_used_mib, facts.memory_mib) if reading and facts.memory_mib else "",
    )
    notes = HostNotes(
        host_id=host.id,
        name=head.name,
        reason=host.reason or facts.gpus_unavailable,
        since_s=host.connection_since.seconds if connection else 0.0,
        troubles=tuple(Trouble(tone(it.severity), it.code, it.reason, it.action) for it in host.findings),
        is_cordoned=host.cordoned,
        has_joined=bool(facts.cpus),
    )
    gpus = gpu_cells(host, (before[0], before[1].gpus) if before else None)
    return HostCells(key_of("h", host.id or host.address), head, gpus, notes)


def in_order(hosts: Sequence[api_pb2.Host]) -> list[api_pb2.Host]:
    """One that does not jump when something happens."""
    return sorted(hosts, key=lambda it: (it.fleet, it.name, it.address, it.id))


def summary(hosts: Sequence[api_pb2.Host]) -> Summary:
    used = total = gpus = free = drained = 0
    busy = []
    words = {"failing": 0, "warning": 0}
    for host in hosts:
        held = {use.uuid: use for use in host.gpus}
        used += used_mib_of(host)
        for gpu in host.facts.gpus:
            total += gpu.memory_total_mib
            if gpu.mig_enabled:
                continue
            gpus += 1
            use = held.get(gpu.uuid)
            drained += bool(host.cordoned or (use and use.cordoned))
            taken = use is not None and bool(use.holders)
            free += not taken and host.connection == "connected" and use is not None and use.health == "healthy"
        busy += [it.utilisation for it in host.gpu_readings if it.HasField("utilisation")]
        for word in words:
            words[word] += host.health == word
    away = sum(host.connection not in {"", "connected", RELEASED} for host in hosts)
    return Summary(
        hosts=f"{sum(host.connection == 'connected' for host in hosts)} / {len(hosts)}",
        away=away,
        gpus=gpus,
        free_gpus=free,
        memory=f"{gb(used)} / {gb(total)} GB" if total else "",
        memory_percent=percent(used, total),
        busy_percent=round(sum(busy) / len(busy) * 100) if busy else None,
        failing=words["failing"],
        warning=words["warning"],
        drained=drained,
    )
