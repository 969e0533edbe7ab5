"""The few facts about the installation itself."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store.connect import Write
from homeport_control.store.schema import meta


async def get(connection: AsyncConnection, key: str) -> str | None:
    result: str | None = await connection.scalar(sa.select(meta.c.value).where(meta.c.key == key))
    return result


async def put_once(write: Write, key: str, value: str) -> str:
    """Set a value that is never changed again; returns the one that stands."""
    existing = await get(write.connection, key)
    if existing is not None:
        return existing
    await write.connection.execute(sa.insert(meta).values(key=key, value=value))
    return value


async def put(write: Write, key: str, value: str) -> None:
    """Set a value, whatever it was."""
    if await put_once(write, key, value) != value:
        await write.connection.execute(sa.update(meta).where(meta.c.key == key).values(value=value))
