"""What a plan shows before anything is submitted: the hosts that fit, as placement would choose, and why others do not.

Pure. Reserves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_control.decide.ask import Ask
from homeport_control.decide.board import Board, Fit, Refusal
from homeport_control.decide.capacity import emptied, gigabytes
from homeport_control.decide.gpus import gpus_text
from homeport_control.decide.placement import NO_VOLUMES
from homeport_control.decide.standing import NOT_PROVISIONED, raised
from homeport_control.domain.hosts import Connection, Host, HostFacts, Reservation


@dataclass(frozen=True, slots=True)
class Offer:
    host: str  # name
    backend: str
    region: str
    resources_text: str  # "24xCPU, 64GB, A5000:24GB:2"
    spot: bool
    price: float  # per hour
    # "idle": it can start now; "not provisioned": an on-demand host would be brought up; "busy": it fits, and replicas of ours
    # are in the way.
    availability: str


def offers(
    hosts: Sequence[Host],
    reservations: Sequence[Reservation],
    ask: Ask,
    now_s: float,
    volumes: Mapping[str, str] = NO_VOLUMES,
) -> tuple[tuple[Offer, ...], tuple[Refusal, ...]]:
    """Offers in the order in which placement would choose, busy ones last, and one refusal for each host not offered as free.

    A busy host stands in both: as an offer, and with what is in the way as a refusal.
    `hosts`: on-demand ones too (`standing`). `volumes`: host id by the name of each named volume that is somewhere.
    """
    board = Board(hosts, reservations, now_s, volumes)
    now = board.ranked(ask)
    away = [] if ask.filters.reuse else [raised(host) for host in hosts if host.connection is Connection.RELEASED]
    to_come = Board(away, reservations, now_s, volumes).ranked(ask) if away else ()
    free = {fit.host.id for fit in (*now, *to_come)}
    held: dict[str, list[Reservation]] = {}
    for reservation in reservations:
        held.setdefault(reservation.host_id, []).append(reservation)
    without_ours = [emptied(host, held.get(host.id, ())) for host in hosts if host.id not in free]
    offered = {fit.host.name for fit in to_come}
    return (
        *(_offer(fit, "idle") for fit in now),
        *(_offer(fit, NOT_PROVISIONED) for fit in to_come),
        *(_offer(fit, "busy") for fit in Board(without_ours, (), now_s, volumes).ranked(ask)),
    ), tuple(it for it in board.refusals(ask) if it.host not in offered)


def _offer(fit: Fit, availability: str) -> Offer:
    host = fit.host
    return Offer(
        host=host.name,
        backend=host.backend,
        region=host.region,
        resources_text=resources_text(host.facts),
        spot=host.spot,
        price=host.price,
        availability=availability,
    )


def resources_text(facts: HostFacts) -> str:
    """All that the machine has: "24xCPU, 64GB, A5000:24GB:2"."""
    return ", ".join((f"{facts.cpus}xCPU", _memory_text(facts.memory_mib), *gpus_text(facts.gpus)))


def _memory_text(mib: int) -> str:
    """In whole gigabytes from 1 GB on: the kernel takes a share, and nobody counts its megabytes."""
    return gigabytes(mib) if mib < 1024 else gigabytes(1024 * round(mib / 1024))
