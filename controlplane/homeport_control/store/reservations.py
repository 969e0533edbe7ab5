"""What replicas hold of their hosts, read from the database; they are written with the replicas (store/replicas.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.hosts import Reservation
from homeport_control.store.mirror import Mirror
from homeport_control.store.schema import reservations

_COLUMNS = tuple(reservations.c[field] for field in Reservation.__slots__)


def _made(row: tuple[Any, ...]) -> Reservation:
    values = dict(zip(Reservation.__slots__, row, strict=True))
    return Reservation(**{**values, "gpu_uuids": tuple(values["gpu_uuids"])})


_MIRROR = Mirror(reservations, _COLUMNS, _made, reservations.c.replica_id)


async def list_all(connection: AsyncConnection) -> tuple[Reservation, ...]:
    """By replica."""
    return (await _MIRROR.read(connection)).derived(_by_replica)


async def by_host(connection: AsyncConnection) -> Mapping[str, Sequence[Reservation]]:
    """By host id, of each by replica; none for a host of which nothing is held."""
    return (await _MIRROR.read(connection)).derived(_by_host)


def _by_replica(known: Mapping[str, Reservation]) -> tuple[Reservation, ...]:
    return tuple(known[replica_id] for replica_id in sorted(known))


def _by_host(known: Mapping[str, Reservation]) -> dict[str, list[Reservation]]:
    found: dict[str, list[Reservation]] = {}
    for claim in _by_replica(known):
        found.setdefault(claim.host_id, []).append(claim)
    return found
