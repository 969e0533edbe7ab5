"""The hosts' doors in the database: where others reach their replicas, and who could. Part of a host's row."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.hosts import Door, Tunnel
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.kept import Kept
from homeport_control.store.schema import gateways, hosts
from homeport_control.store.set_each import WHICH, set_each

_DOOR = sa.cast(hosts.c.door, sa.Text).label("door")
_KEPT = Kept(lambda row: door_from_row(json.loads(row[0]) if row[0] is not None else None))


def door_from_row(stored: dict[str, Any] | None) -> Door:
    """Reads what `asdict` made of it."""
    if stored is None:
        return Door()
    errors = tuple((host_id, error) for host_id, error in stored["errors"])
    tunnels = tuple(
        Tunnel(it["gateway_host_id"], tuple(it["ports"]), it["message"]) for it in stored.get("tunnels", ())
    )
    reached_by, unheard = tuple(stored["reached_by"]), tuple(stored.get("unheard", ()))
    return Door(stored["address"], tuple(stored["ports"]), stored["message"], errors, reached_by, tunnels, unheard)


async def by_host(connection: AsyncConnection, host_ids: Iterable[str] | None = None) -> dict[str, Door]:
    """By host id: of those that have one, or could; of all, or of these."""
    query = sa.select(hosts.c.id, _DOOR).where(hosts.c.door.is_not(None))
    queries = [query] if host_ids is None else [query.where(hosts.c.id.in_(some)) for some in chunks(host_ids)]
    return {row.id: _KEPT.of(row.id, (row.door,)) for each in queries for row in await connection.execute(each)}


async def put(write: Write, told: Mapping[str, Door]) -> None:
    """What is told of them, by host id; nothing is written of what is known."""
    before: dict[str, Door] = {}
    for some in chunks(told):
        for row in await write.connection.execute(sa.select(hosts.c.id, _DOOR).where(hosts.c.id.in_(some))):
            before[row.id] = _KEPT.of(row.id, (row.door,))
    changed = {it: door for it, door in told.items() if it in before and before[it] != door}
    if not changed:
        return
    await set_each(write, hosts, [{WHICH: it, "door": asdict(door)} for it, door in changed.items()])
    write.touch("doors")
    if any(
        (before[it].address, before[it].ports[:1]) != (door.address, door.ports[:1]) for it, door in changed.items()
    ):
        # gateways dial another place
        gateway_hosts = await write.connection.scalars(sa.select(gateways.c.host_id).where(gateways.c.host_id != ""))
        write.touch(*(f"host:{it}" for it in gateway_hosts))
    for host_id, door in changed.items():
        was = before[host_id]
        if was.dials != door.dials:
            write.touch(f"host:{host_id}")
        if was.dials != door.dials or was.ports != door.ports:
            write.touch(*(f"host:{it}" for it in was.dials | door.dials))
