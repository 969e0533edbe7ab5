"""What replicas hold of their hosts, read from the database; they are written with the replicas (store/replicas.py)."""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.hosts import Reservation
from homeport_control.store.chunks import chunks
from homeport_control.store.kept import Kept
from homeport_control.store.schema import reservations

PIECE = 200  # rows that are read at once

# Lists come as their text, so that a row can be compared with one that was read before.
_COLUMNS = tuple(
    sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column
    for column in (reservations.c[field] for field in Reservation.__slots__)
)


def _made(row: tuple[Any, ...]) -> Reservation:
    values = dict(zip(Reservation.__slots__, row, strict=True))
    return Reservation(**{**values, "gpu_uuids": tuple(json.loads(values["gpu_uuids"]))})


_KEPT = Kept(_made)
_OF = Reservation.__slots__.index("replica_id")
_AFTER = reservations.c.replica_id > sa.bindparam("after")
_ALL = sa.select(*_COLUMNS).where(_AFTER).order_by(reservations.c.replica_id).limit(sa.bindparam("most"))
_ON_HOSTS = _ALL.where(reservations.c.host_id.in_(sa.bindparam("there", expanding=True)))


async def list_all(connection: AsyncConnection, host_ids: Iterable[str] | None = None) -> tuple[Reservation, ...]:
    """By replica: all, or those on these hosts."""
    if host_ids is None:
        return tuple(await _read(connection, _ALL))
    found = [it for some in chunks(host_ids) for it in await _read(connection, _ON_HOSTS, there=some)]
    return tuple(sorted(found, key=lambda it: it.replica_id))


async def _read(connection: AsyncConnection, query: sa.Select[Any], **parameters: object) -> list[Reservation]:
    """A piece at a time, as replicas."""
    found: list[Reservation] = []
    rows = (await connection.execute(query, {"after": "", "most": PIECE, **parameters})).all()
    while rows:
        found += [_KEPT.of(row[_OF], tuple(row)) for row in rows]
        if len(rows) < PIECE:
            break
        rows = (await connection.execute(query, {"after": found[-1].replica_id, "most": PIECE, **parameters})).all()
    return found
