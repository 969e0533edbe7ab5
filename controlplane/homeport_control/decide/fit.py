"""Whether a host fits one replica, and if not, why, with numbers.

Pure. Does not say which GPUs the replica would get (choice) nor compare hosts that fit (score).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport_control.decide.ask import Ask, Filters, Home
from homeport_control.decide.capacity import Capacity, gigabytes
from homeport_control.decide.choice import Choice, choose
from homeport_control.decide.gpu_lack import gpu_lack, gpu_short
from homeport_control.decide.lack import Lack, Short
from homeport_control.domain.hosts import Connection, Health, Host

RELEASED = "released"  # the kind of a reason: an on-demand host that is not there now
__all__ = ["Ask", "Filters", "Home", "Lack", "Needs", "Short", "barred", "fits", "lacks", "shortest"]


@dataclass(frozen=True, slots=True)
class Needs:
    """The numbers of an ask, worked out once."""

    cpus: float
    memory_mib: int
    disk_mib: int

    @classmethod
    def of(cls, ask: Ask) -> "Needs":
        return cls(ask.cpus, ask.memory_mib, ask.disk_mib)


def fits(free: Capacity, ask: Ask, needs: Needs) -> Choice | None:
    """Whether a host that is not barred has what the replica needs; the GPUs that it would get."""
    if (
        (needs.cpus and needs.cpus > free.cpus)
        or (needs.memory_mib and needs.memory_mib > free.memory_mib)
        or (needs.disk_mib and needs.disk_mib > free.disk_mib)
    ):
        return None
    return choose(free, ask.resources.gpu)


def shortest(free: Capacity, ask: Ask, needs: Needs) -> Short:
    """The first of `lacks` without its words, of a host that is not barred and does not fit."""
    if ask.resources.gpu is not None and choose(free, ask.resources.gpu) is None:
        return gpu_short(free, ask.resources.gpu)
    if needs.cpus and needs.cpus > free.cpus:
        return Short("cpu", free.cpus)
    if needs.memory_mib and needs.memory_mib > free.memory_mib:
        return Short("memory", free.memory_mib)
    return Short("disk", free.disk_mib)


def lacks(free: Capacity, ask: Ask, now_s: float) -> tuple[Lack, ...]:
    """All reasons against the host, weightiest first; empty when it fits."""
    found = barred(free.host, ask, now_s)
    if found is not None and found.kind != RELEASED:
        return (found,)
    short: list[Lack] = []
    spec = ask.resources.gpu
    if spec is not None and choose(free, spec) is None:
        short.append(gpu_lack(free, spec))
    if ask.cpus and ask.cpus > free.cpus:
        total = f" of {free.host.facts.cpus}" if free.replicas else ""
        text = f"needs {ask.cpus:g} cpus, {max(0.0, free.cpus):g}{total} free"
        short.append(Lack("cpu", text, free.cpus))
    if ask.memory_mib and ask.memory_mib > free.memory_mib:
        total = f" of {gigabytes(free.host.facts.memory_mib)}" if free.replicas else ""
        text = f"needs {gigabytes(ask.memory_mib)} of memory, {gigabytes(max(0, free.memory_mib))}{total} free"
        short.append(Lack("memory", text, free.memory_mib))
    if ask.disk_mib and ask.disk_mib > free.disk_mib:
        text = f"needs {gigabytes(ask.disk_mib)} of disk, {gigabytes(free.disk_mib)} free"
        short.append(Lack("disk", text, free.disk_mib))
    if found is not None and not short:  # it would fit if it were there
        return (found,)
    return tuple(short)


def barred(host: Host, ask: Ask, now_s: float) -> Lack | None:
    """What no free resource could heal: the run's policies, data that is elsewhere, and the state of the host."""
    lack = _by_policy(host, ask.filters) if ask.filters != _NO_FILTERS else None
    if lack is not None:
        return lack
    for home in ask.homes:
        if home.host_id != host.id:
            return Lack(
                "volume",
                f"volume data is on {home.host}",
                0.0,
                f"has not the data of volume {home.volume}, {home.host} has",
            )
    if host.connection is Connection.RELEASED and not host.cordoned:
        return Lack(RELEASED, f"is {host.connection_reason}{', the run asks for reuse' if ask.filters.reuse else ''}")
    if host.connection is Connection.UNREACHABLE:
        away_s = max(0.0, now_s - host.connection_since_s)
        return Lack("unreachable", f"is unreachable since {away_s:.0f} s", -away_s)
    if host.is_for_gateways:
        return Lack("gateways", "runs gateways only")
    if host.cordoned:
        return Lack("cordoned", "is cordoned")
    if host.facts.docker_unavailable:
        return Lack("docker", f"has no Docker: {host.facts.docker_unavailable.rstrip('.')}")
    for finding in host.findings:
        if not finding.gpu_uuid and finding.severity is Health.FAILING:
            return Lack("failing", f"is failing: {finding.reason.rstrip('.')}")
    return None


_NO_FILTERS = Filters()


def _by_policy(host: Host, filters: Filters) -> Lack | None:
    for kind, wanted, values in (
        ("fleet", filters.fleets, (host.fleet,)),
        ("host", filters.hosts, (host.name, host.id, host.address)),
        ("backend", filters.backends, (host.backend,)),
        ("region", filters.regions, (host.region,)),
    ):
        if wanted and not set(wanted) & set(values):
            return Lack(kind, f"is {kind} {values[0]}, the run asks for {' or '.join(wanted)}")
    missing = _missing_labels(host, filters.labels)
    if missing:
        return Lack("label", f"has no label {' and '.join(missing)}")
    if filters.instance_types:
        return Lack("type", f"has no instance type, the run asks for {' or '.join(filters.instance_types)}")
    if filters.spot_policy == "spot" and not host.spot:
        return Lack("spot", "is not spot, the run asks for spot")
    if filters.spot_policy == "on-demand" and host.spot:
        return Lack("spot", "is spot, the run asks for on-demand")
    if filters.max_price is not None and host.price > filters.max_price:
        return Lack("price", f"costs ${host.price:g} an hour, max_price is ${filters.max_price:g}", -host.price)
    return None


def _missing_labels(host: Host, wanted: Sequence[str]) -> list[str]:
    has = {f"{key}={value}" for key, value in host.labels} if wanted else set()
    return [label for label in wanted if label not in has]
