"""What each gateway's Envoy has acknowledged, by service, over restarts of the server.

Covers keeping and reading back. Does not cover what follows from it (loops/acknowledged).
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.schema import acknowledged


async def of(connection: AsyncConnection, gateway: str, host_id: str) -> dict[str, str]:
    """Service -> version, of the gateway's Envoy on that host."""
    query = sa.select(acknowledged.c.service, acknowledged.c.version)
    mine = (acknowledged.c.gateway == gateway, acknowledged.c.host_id == host_id)
    return {row.service: row.version for row in await connection.execute(query.where(*mine))}


async def keep(write: Write, gateway: str, host_id: str, changed: Mapping[str, str | None]) -> None:
    """Service -> version; None: it is served no more. What its Envoy on another host had is forgotten."""
    table, mine = acknowledged, acknowledged.c.gateway == gateway
    await write.connection.execute(sa.delete(table).where(mine, table.c.host_id != host_id))
    for some in chunks(changed):
        await write.connection.execute(sa.delete(table).where(mine, table.c.service.in_(some)))
    rows = [
        {"gateway": gateway, "service": service, "host_id": host_id, "version": version}
        for service, version in changed.items()
        if version is not None
    ]
    if rows:
        await write.connection.execute(sa.insert(table), rows)
