"""Fleets and registered machines in the database: domain values in and out."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.errors import Conflict, NotFound
from homeport_control.domain.fleets import Fleet, Phase, Place, Registration, Standby
from homeport_control.domain.hosts import GATEWAYS_FLEET, Host
from homeport_control.store import events, hosts
from homeport_control.store.connect import Write
from homeport_control.store.hosts import facts_from_row
from homeport_control.store.schema import fleets, registrations

_OF_FLEET = ("region", "on_demand", "idle_duration_s", "power_off", "server")


def _place(stored: dict[str, Any]) -> Place:
    jump = stored.get("jump")
    return Place(**{**stored, "jump": _place(jump) if jump else None})


def _registration(row: sa.Row[Any]) -> Registration:
    return Registration(
        row.fleet, _place(row.place), row.step, row.since_s, row.error, row.host_id, _standby(row.standby)
    )


def _standby(stored: dict[str, Any] | None) -> Standby | None:
    if stored is None:
        return None
    return Standby(**{**stored, "phase": Phase(stored["phase"]), "facts": facts_from_row(stored["facts"])})


def _fleet(row: sa.Row[Any]) -> Fleet:
    labels = tuple((key, value) for key, value in row.labels)
    return Fleet(row.name, labels, **{key: getattr(row, key) for key in _OF_FLEET})


async def get(connection: AsyncConnection, name: str) -> Fleet | None:
    """Without its places."""
    row = (await connection.execute(sa.select(fleets).where(fleets.c.name == name))).one_or_none()
    return _fleet(row) if row else None


async def by_name(connection: AsyncConnection) -> dict[str, Fleet]:
    """All of them, without their places."""
    return {row.name: _fleet(row) for row in await connection.execute(sa.select(fleets))}


async def put(write: Write, fleet: Fleet) -> None:
    """Make it, or replace what is kept of it."""
    values: dict[str, Any] = {"labels": [list(it) for it in fleet.labels]}
    values |= {key: getattr(fleet, key) for key in _OF_FLEET}
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
        "standby": asdict(registration.standby) if registration.standby is not None else None,
    }
    if registration.standby is None:
        values["access"] = None  # what is not needed is not kept
    changed = await write.connection.execute(
        sa.update(registrations).where(*_is(registration.fleet, hostname, port)).values(**values)
    )
    if changed.rowcount == 0:
        await write.connection.execute(
            sa.insert(registrations).values(fleet=registration.fleet, hostname=hostname, port=port, **values)
        )
    write.touch("hosts")


async def keep_access(write: Write, registration: Registration, sealed: bytes) -> None:
    """How the server reaches an on-demand machine by itself."""
    which = _is(registration.fleet, *registration.place.address)
    await write.connection.execute(sa.update(registrations).where(*which).values(access=sealed))


async def access(connection: AsyncConnection, registration: Registration) -> bytes | None:
    """Sealed; None: the server was not given any."""
    which = _is(registration.fleet, *registration.place.address)
    return (await connection.execute(sa.select(registrations.c.access).where(*which))).scalar_one_or_none()


async def became(write: Write, registration: Registration, host_id: str) -> Host:
    """The machine is this host, which is known by the address that the file gives it. Raises NotFound, Conflict."""
    host = await hosts.get(write.connection, host_id)
    if host is None:
        raise NotFound(f"no host {host_id}; apply the fleet again")
    if host.fleet != registration.fleet:
        way = f"remove it there first: homeport fleet delete {host.name}"
        if registration.fleet == GATEWAYS_FLEET:
            way = f"write `host: {host.name}` for a gateway on it"
        raise Conflict(
            f"{registration.place.hostname} is the host {host.name} of the fleet {host.fleet} already; {way}"
        )
    await hosts.update(write, host_id, {"address": registration.place.hostname, "backend": "ssh"})
    return host


async def unregister(write: Write, fleet: str, addresses: Iterable[tuple[str, int]]) -> None:
    for hostname, port in addresses:
        await write.connection.execute(sa.delete(registrations).where(*_is(fleet, hostname, port)))
    write.touch("hosts")


async def is_going(connection: AsyncConnection, host_id: str) -> bool:
    """Whether the host is being let go: nothing may be given to it any more."""
    rows = await connection.execute(sa.select(registrations.c.standby).where(registrations.c.host_id == host_id))
    return any(row.standby is not None and row.standby["phase"] == Phase.GOING for row in rows)


async def forget_host(write: Write, host_id: str) -> None:
    """The host was removed: it is registered no more."""
    await write.connection.execute(sa.delete(registrations).where(registrations.c.host_id == host_id))


def _is(fleet: str, hostname: str, port: int) -> tuple[sa.ColumnElement[bool], ...]:
    return registrations.c.fleet == fleet, registrations.c.hostname == hostname, registrations.c.port == port
