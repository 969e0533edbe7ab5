"""Which host each waiting replica gets: filter, then score, with stable ties. A placement, or reasons with numbers.

Pure. Does not claim anything (store): the caller claims in the transaction in which it read what is free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from homeport_control.decide.ask import Ask, Filters
from homeport_control.decide.board import Board, Fit
from homeport_control.domain.hosts import Host, Reservation

NO_VOLUMES: Mapping[str, str] = MappingProxyType({})
__all__ = ["NO_VOLUMES", "Ask", "Filters", "Placed", "Unplaced", "place"]


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
        return Unplaced(ask.replica_id, board.summary(ask))
    claim = claim_of(ask, best)
    board.claim(claim, ask.volumes)
    return Placed(ask.replica_id, claim.host_id, claim.gpu_uuids, claim, best.score, ask.volumes)


def claim_of(ask: Ask, best: Fit) -> Reservation:
    """What a replica holds of the host that it gets."""
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
