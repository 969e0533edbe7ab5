"""Hosts in the database: guarded writes, domain values in and out."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.hosts import Connection, Gpu, Host, HostFacts
from homeport_control.store.connect import Write
from homeport_control.store.schema import hosts

_NOT_IN_DOMAIN = {"boot_id", "sequence", "generation"}


def _host(row: sa.Row[Any]) -> Host:
    values = {key: value for key, value in row._mapping.items() if key not in _NOT_IN_DOMAIN}
    facts = dict(values["facts"])
    facts["gpus"] = tuple(Gpu(**gpu) for gpu in facts.get("gpus", ()))
    values["facts"] = HostFacts(**facts)
    values["connection"] = Connection(values["connection"])
    return Host(**values)


async def list_all(connection: AsyncConnection) -> tuple[Host, ...]:
    """All hosts, by name."""
    return tuple(_host(row) for row in await connection.execute(sa.select(hosts).order_by(hosts.c.name)))


async def get(connection: AsyncConnection, host_id: str) -> Host | None:
    row = (await connection.execute(sa.select(hosts).where(hosts.c.id == host_id))).one_or_none()
    return _host(row) if row else None


async def insert(write: Write, host: Host) -> None:
    values: dict[str, Any] = asdict(host)
    for field in ("price", "spot"):
        values.pop(field)
    await write.connection.execute(sa.insert(hosts).values(**values, boot_id="", sequence=0, generation=0))
    write.touch("hosts")


async def unused_name(connection: AsyncConnection, wanted: str) -> str:
    """The wanted name, or with -2, -3 … behind it when it is taken."""
    taken = set(await connection.scalars(sa.select(hosts.c.name)))
    candidate, number = wanted, 1
    while candidate in taken:
        number += 1
        candidate = f"{wanted}-{number}"
    return candidate


async def accept_report(write: Write, host_id: str, boot_id: str, sequence: int, *, new_session: bool) -> bool:
    """The guard against late and doubled reports: True when this one is newer than the last one of the same boot.

    A boot id that is not the last one is accepted only as the first message of a session, which the host's
    certificate authenticates: boots have no order of their own.
    """
    newer = (hosts.c.boot_id == boot_id) & (hosts.c.sequence < sequence)
    condition = sa.or_(newer, hosts.c.boot_id != boot_id) if new_session else newer
    query = sa.update(hosts).where(hosts.c.id == host_id, condition).values(boot_id=boot_id, sequence=sequence)
    return (await write.connection.execute(query)).rowcount == 1


async def update(write: Write, host_id: str, changed: Mapping[str, Any]) -> None:
    values = dict(changed)
    if isinstance(values.get("facts"), HostFacts):
        values["facts"] = asdict(values["facts"])
    await write.connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))
    write.touch("hosts")


async def next_generation(write: Write, host_id: str) -> int:
    """A generation for an assignment that is about to be sent: greater than any before, also over restarts."""
    query = (
        sa.update(hosts)
        .where(hosts.c.id == host_id)
        .values(generation=hosts.c.generation + 1)
        .returning(hosts.c.generation)
    )
    return int((await write.connection.execute(query)).scalar_one())
