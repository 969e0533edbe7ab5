"""Certificates of gateways in the database; their keys are sealed before they come here."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.certificates import Kept
from homeport_control.store.connect import Write
from homeport_control.store.schema import certificates


def _kept(row: sa.Row[Any]) -> Kept:
    return Kept(**row._mapping)


async def list_all(connection: AsyncConnection) -> tuple[Kept, ...]:
    """By gateway and name."""
    query = sa.select(certificates).order_by(certificates.c.gateway, certificates.c.name)
    return tuple(_kept(row) for row in await connection.execute(query))


async def get(connection: AsyncConnection, gateway: str, name: str) -> Kept | None:
    query = sa.select(certificates).where(certificates.c.gateway == gateway, certificates.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    return _kept(row) if row else None


async def put(write: Write, kept: Kept) -> None:
    """Keep it, in place of the one before."""
    await remove(write, kept.gateway, [kept.name])
    values = {column.name: getattr(kept, column.name) for column in certificates.columns}
    await write.connection.execute(sa.insert(certificates).values(**values))
    write.touch("gateways")


async def try_again(write: Write, gateway: str) -> None:
    """What failed is not waited for any longer: its owner has changed something."""
    query = sa.update(certificates).where(certificates.c.gateway == gateway).values(next_try_s=0.0)
    await write.connection.execute(query)
    write.touch("gateways")


async def remove(write: Write, gateway: str, names: Iterable[str]) -> None:
    for name in names:
        gone = (certificates.c.gateway == gateway, certificates.c.name == name)
        await write.connection.execute(sa.delete(certificates).where(*gone))
    write.touch("gateways")
