"""Fleets and registered machines in the database: domain values in and out."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.fleets import Fleet, Place, Registration
from homeport_control.store import events
from homeport_control.store.connect import Write
from homeport_control.store.schema import fleets, registrations


def _place(stored: dict[str, Any]) -> Place:
    jump = stored.get("jump")
    return Place(**{**stored, "jump": _place(jump) if jump else None})


def _registration(row: sa.Row[Any]) -> Registration:
    return Registration(row.fleet, _place(row.place), row.step, row.since_s, row.error, row.host_id)


async def get(connection: AsyncConnection, name: str) -> Fleet | None:
    """Without its places."""
    row = (await connection.execute(sa.select(fleets).where(fleets.c.name == name))).one_or_none()
    return Fleet(row.name, tuple((key, value) for key, value in row.labels), row.region) if row else None


async def put(write: Write, fleet: Fleet) -> None:
    """Make it, or replace what is kept of it."""
    values = {"labels": [list(it) for it in fleet.labels], "region": fleet.region}
    changed = await write.connection.execute(sa.update(fleets).where(fleets.c.name == fleet.name).values(**values))
    if changed.rowcount == 0:
        await write.connection.execute(sa.insert(fleets).values(name=fleet.name, **values))
        events.record(
            write, kind="fleet", object_id=fleet.name, name=fleet.name, sentence=f"fleet {fleet.name} was made"
        )
    write.touch("hosts")


async def remove(write: Write, name: str) -> bool:
    """Whether there was one. Its registrations go with it."""
    await write.connection.execute(sa.delete(registrations).where(registrations.c.fleet == name))
    gone = await write.connection.execute(sa.delete(fleets).where(fleets.c.name == name))
    if gone.rowcount:
        events.record(write, kind="fleet", object_id=name, name=name, sentence=f"fleet {name} was deleted")
    write.touch("hosts")
    return bool(gone.rowcount)


async def registered(connection: AsyncConnection, fleet: str | None = None) -> tuple[Registration, ...]:
    """Of one fleet, or of all; by fleet and name."""
    query = sa.select(registrations).order_by(registrations.c.fleet, registrations.c.hostname, registrations.c.port)
    if fleet is not None:
        query = query.where(registrations.c.fleet == fleet)
    return tuple(_registration(row) for row in await connection.execute(query))


async def register(write: Write, registration: Registration) -> None:
    """Keep a machine, or replace what is kept of it."""
    hostname, port = registration.place.address
    values: dict[str, Any] = {
        "place": asdict(registration.place),
        "step": registration.step,
        "since_s": registration.since_s,
        "error": registration.error,
        "host_id": registration.host_id,
    }
    changed = await write.connection.execute(
        sa.update(registrations).where(*_is(registration.fleet, hostname, port)).values(**values)
    )
    if changed.rowcount == 0:
        await write.connection.execute(
            sa.insert(registrations).values(fleet=registration.fleet, hostname=hostname, port=port, **values)
        )
    write.touch("hosts")


async def unregister(write: Write, fleet: str, addresses: Iterable[tuple[str, int]]) -> None:
    for hostname, port in addresses:
        await write.connection.execute(sa.delete(registrations).where(*_is(fleet, hostname, port)))
    write.touch("hosts")


async def forget_host(write: Write, host_id: str) -> None:
    """The host was removed: it is registered no more."""
    await write.connection.execute(sa.delete(registrations).where(registrations.c.host_id == host_id))


def _is(fleet: str, hostname: str, port: int) -> tuple[sa.ColumnElement[bool], ...]:
    return registrations.c.fleet == fleet, registrations.c.hostname == hostname, registrations.c.port == port
