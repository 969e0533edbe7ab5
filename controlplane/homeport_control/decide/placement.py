"""Which host each waiting replica gets: filter, then score, with stable ties. A placement, or reasons with numbers.

Pure. Does not claim anything (store): the caller claims in the transaction in which it read what is free.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from homeport_control.decide.capacity import Capacity, capacity
from homeport_control.decide.fit import Ask, Filters, Lack, lacks
from homeport_control.decide.progress import plural
from homeport_control.domain.hosts import Gpu, Host, Reservation

NO_VOLUMES: Mapping[str, str] = MappingProxyType({})
__all__ = ["NO_VOLUMES", "Ask", "Filters", "Placed", "Refusal", "Unplaced", "place", "rank"]


@dataclass(frozen=True, slots=True)
class Refusal:
    host: str  # name
    reason: str  # "needs 24GB on 1 GPU, largest free 11.2GB (a program outside Homeport uses 12.8GB of 24GB)"
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    replica_id: str
    host_id: str
    gpu_uuids: tuple[str, ...]
    reservation: Reservation
    score: tuple[tuple[str, float], ...]  # what was compared, in this order; less is better
    volumes: tuple[str, ...] = ()  # named ones whose home is this host from now on


@dataclass(frozen=True, slots=True)
class Unplaced:
    replica_id: str
    refusals: tuple[Refusal, ...]  # one for each host, by name
    summary: str  # "0 of 3 hosts fit: 2 need 24GB on 1 GPU, largest free 11.2GB; 1 is unreachable since 12 s"


@dataclass(frozen=True, slots=True)
class Fit:
    """A host that fits, with the GPUs that the replica would get there."""

    capacity: Capacity
    gpus: tuple[Gpu, ...]
    score: tuple[tuple[str, float], ...]


def place(
    hosts: Sequence[Host],
    reservations: Sequence[Reservation],
    asks: Sequence[Ask],
    now_s: float,
    volumes: Mapping[str, str] = NO_VOLUMES,
) -> tuple[Placed | Unplaced, ...]:
    """One answer for each ask, in order; each placed one takes its share before the next is looked at.

    `volumes`: host id by the name of each named volume that is somewhere. The first replica that mounts a new one
    decides where it is, also for those after it in this call.
    """
    homes, by_id = dict(volumes), {host.id: host for host in hosts}
    by_host: dict[str, list[Reservation]] = defaultdict(list)
    for reservation in reservations:
        by_host[reservation.host_id].append(reservation)
    free = {host.id: capacity(host, by_host[host.id]) for host in hosts}
    answers: list[Placed | Unplaced] = []
    for ask in asks:
        fits, refusals = rank(free.values(), ask.at_home(homes, by_id), now_s)
        if not fits:
            answers.append(Unplaced(ask.replica_id, refusals, _summary(refusals)))
            continue
        best = fits[0]
        host = best.capacity.host
        claim = Reservation(
            replica_id=ask.replica_id,
            host_id=host.id,
            gpu_uuids=tuple(gpu.uuid for gpu in best.gpus),
            exclusive=True,
            gpu_memory_mib=0,
            cpus=ask.cpus,
            memory_mib=ask.memory_mib,
            run_name=ask.run_name,
            revision=ask.revision,
        )
        by_host[host.id].append(claim)
        free[host.id] = capacity(host, by_host[host.id])
        homes.update(dict.fromkeys(ask.volumes, host.id))
        answers.append(Placed(ask.replica_id, host.id, claim.gpu_uuids, claim, best.score, ask.volumes))
    return tuple(answers)


def rank(capacities: Iterable[Capacity], ask: Ask, now_s: float) -> tuple[tuple[Fit, ...], tuple[Refusal, ...]]:
    """The hosts that fit, best first, and the others with their reasons, by name."""
    fits: list[Fit] = []
    refusals: list[Refusal] = []
    for free in capacities:
        against, gpus = lacks(free, ask, now_s)
        if against:
            reason = "; ".join(lack.text for lack in against)
            refusals.append(Refusal(free.host.name, reason, against))
        else:
            fits.append(Fit(free, gpus, _score(free, ask, gpus)))
    fits.sort(
        key=lambda fit: ([part for _, part in fit.score], fit.capacity.host.name, fit.capacity.host.id),
    )
    refusals.sort(key=lambda refusal: (refusal.host, refusal.reason))
    return tuple(fits), tuple(refusals)


def _score(free: Capacity, ask: Ask, gpus: tuple[Gpu, ...]) -> tuple[tuple[str, float], ...]:
    """One host that fails takes as few replicas of a run as can be; then GPUs are kept together for large asks."""
    return (
        ("replicas of this run there", float(free.reserved_by.count(ask.run_name))),
        ("GPUs that it would not use", float(len(free.host.facts.gpus)) if not gpus else 0.0),
        ("price", free.host.price),
        ("GPUs left free", float(len(free.free_gpus) - len(gpus)) if gpus else 0.0),
        ("replicas there", float(len(free.reserved_by)) if not gpus else 0.0),
    )


def _summary(refusals: Sequence[Refusal]) -> str:
    """Counted per first reason, most frequent first; of several hosts the one that comes closest gives the numbers."""
    if not refusals:
        return "there is no host"
    groups: dict[str, list[Lack]] = defaultdict(list)
    for refusal in refusals:
        groups[refusal.lacks[0].kind].append(refusal.lacks[0])
    parts = []
    for _, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        closest = max(group, key=lambda lack: (lack.has, lack.text))
        text = closest.verb_text
        parts.append(f"{len(group)} {_plural_verb(text) if len(group) > 1 else text}")
    return f"0 of {plural(len(refusals), 'host')} fit: {'; '.join(parts)}"


def _plural_verb(text: str) -> str:
    verb, _, rest = text.partition(" ")
    return f"{ {'needs': 'need', 'is': 'are', 'has': 'have', 'costs': 'cost'}.get(verb, verb) } {rest}"
