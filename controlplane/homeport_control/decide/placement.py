"""Which host each waiting replica gets: filter, then score, with stable ties. A placement, or reasons with numbers.

Pure. Does not claim anything (store): the caller claims in the transaction in which it read what is free.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from homeport_control.decide.ask import Ask, Filters
from homeport_control.decide.board import Board, Fit, Refusal
from homeport_control.decide.lack import Lack
from homeport_control.decide.progress import plural
from homeport_control.decide.score import told
from homeport_control.domain.hosts import Host, Reservation

NO_VOLUMES: Mapping[str, str] = MappingProxyType({})
__all__ = ["NO_VOLUMES", "Ask", "Filters", "Placed", "Refusal", "Unplaced", "place"]


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
    board = Board(hosts, reservations, now_s, volumes)
    return tuple(decide(board, ask) for ask in asks)


def decide(board: Board, ask: Ask) -> Placed | Unplaced:
    """The answer for one ask; when it is placed, the board has its claim from then on."""
    best = board.best(ask)
    if best is None:
        refusals = board.refusals(ask)
        return Unplaced(ask.replica_id, refusals, _summary(refusals))
    claim = _claim(ask, best)
    board.claim(claim, ask.volumes)
    return Placed(ask.replica_id, claim.host_id, claim.gpu_uuids, claim, told(best.score), ask.volumes)


def _claim(ask: Ask, best: Fit) -> Reservation:
    return Reservation(
        replica_id=ask.replica_id,
        host_id=best.host.id,
        gpu_uuids=tuple(gpu.uuid for gpu in best.choice.gpus),
        exclusive=not ask.is_shared,
        gpu_memory_mib=ask.gpu_memory_mib,
        cpus=ask.cpus,
        memory_mib=ask.memory_mib,
        run_name=ask.run_name,
        revision=ask.revision,
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
