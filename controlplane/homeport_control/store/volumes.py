"""Named volumes in the database: which host has the data of each. A row is never moved: the data would not move with it."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store.connect import Write
from homeport_control.store.dialect import insert_new
from homeport_control.store.schema import volumes


async def homes(connection: AsyncConnection) -> dict[str, str]:
    """Host id by name of the volume."""
    return {row.name: row.host_id for row in await connection.execute(sa.select(volumes).order_by(volumes.c.name))}


async def forget(write: Write, host_id: str) -> tuple[str, ...]:
    """The host is removed: those on it are nowhere, and made anew where a replica wants them next. Their names."""
    query = sa.delete(volumes).where(volumes.c.host_id == host_id).returning(volumes.c.name)
    return tuple(sorted((await write.connection.execute(query)).scalars()))


async def settle(write: Write, names: Iterable[str], host_id: str, now_s: float) -> None:
    """From now on these are on this host; one that is somewhere already stays where it is.

    In the transaction that places the replica: nobody else can have placed one with the same volume meanwhile.
    """
    for name in names:
        values = {"name": name, "host_id": host_id, "created_at_s": now_s}
        await insert_new(write.connection, volumes, values)
