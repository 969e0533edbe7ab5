"""Gateways in the database: domain values in and out, each change with its event."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain import happenings
from homeport_control.domain.errors import NotFound
from homeport_control.domain.gateway import LOCAL, Certificate, Gateway
from homeport_control.domain.hosts import Host
from homeport_control.spec.gateway_host import address_of
from homeport_control.store import events, hosts, meta
from homeport_control.store.connect import Write
from homeport_control.store.schema import acknowledged, certificates, gateways

NOT_HEARD = "its Envoy has not been heard yet"
NO_HOST = "no host has its role yet: join the server's own machine"
NO_MACHINE = "its machine is not installed yet: apply it again"
_MADE = "local_gateway_made"  # once per server: one that its owner deletes stays deleted


def _gateway(row: sa.Row[Any]) -> Gateway:
    values = dict(row._mapping)
    values["certificate"] = Certificate(**values["certificate"])
    values["trusted_addresses"] = tuple(values["trusted_addresses"])
    return Gateway(**values)


_ALL = sa.select(gateways).order_by(gateways.c.name)  # made once: that takes as long as its answer


async def list_all(connection: AsyncConnection) -> tuple[Gateway, ...]:
    """All gateways, by name."""
    return tuple(_gateway(row) for row in await connection.execute(_ALL))


async def get(connection: AsyncConnection, name: str) -> Gateway | None:
    row = (await connection.execute(sa.select(gateways).where(gateways.c.name == name))).one_or_none()
    return _gateway(row) if row else None


async def of_host(connection: AsyncConnection, host_id: str) -> tuple[Gateway, ...]:
    """Those whose role this host has, by name."""
    query = sa.select(gateways).where(gateways.c.host_id == host_id).order_by(gateways.c.name)
    return tuple(_gateway(row) for row in await connection.execute(query))


async def put(write: Write, gateway: Gateway, sentence: str) -> None:
    """Make it, or replace what is kept of it; `sentence` tells it."""
    before = await get(write.connection, gateway.name)
    if before is None:
        await write.connection.execute(sa.insert(gateways).values(**asdict(gateway)))
    else:
        await _set(write, gateway.name, asdict(gateway))
    if gateway.default:
        others = (gateways.c.name != gateway.name, gateways.c.default)
        await write.connection.execute(sa.update(gateways).where(*others).values(default=False))
    _tell(write, gateway, sentence)
    _touch(write, gateway, *([before] if before else []))
    await _everybody(write, before, gateway)


async def update(write: Write, name: str, **changed: Any) -> None:
    """Raises NotFound."""
    before = await get(write.connection, name)
    if before is None:
        raise NotFound(f"no gateway {name}; `homeport gateway list` shows all")
    after = replace(before, **changed)
    if after == before:
        return
    await _set(write, name, changed)
    host = await hosts.get(write.connection, after.host_id)
    if what := happenings.of_gateway(before, after, host.name if host else ""):
        _tell(write, after, what)
    _touch(write, before, after)
    await _everybody(write, before, after)


async def observed(write: Write, host_id: str, seen: Iterable[tuple[str, bool, str]]) -> None:
    """What a host's agent says of the gateways that it is: name, ready, why not. Of others it says nothing that counts."""
    mine = {gateway.name for gateway in await of_host(write.connection, host_id)}
    for name, ready, message in seen:
        if name in mine:
            await update(write, name, ready=ready, message=message)


async def host_came(write: Write, host: Host, *, is_local: bool) -> None:
    """A new host: gateways that wait for one of its name, or for one on the server's machine, get it."""
    for gateway in await list_all(write.connection):
        is_local_one = is_local and not host.is_for_gateways
        if not gateway.host_id and (
            gateway.wanted_host == host.name or (is_local_one and gateway.wanted_host == LOCAL)
        ):
            await update(write, gateway.name, host_id=host.id, ready=False, message=NOT_HEARD)


async def machine_came(write: Write, host: Host, address: tuple[str, int]) -> None:
    """It was installed over SSH: gateways that want the machine of this address have it from now on, and leave another."""
    for gateway in await list_all(write.connection):
        if address_of(gateway.wanted_host) == address and gateway.host_id != host.id:
            await update(write, gateway.name, host_id=host.id, ready=False, message=NOT_HEARD)


async def host_gone(write: Write, host: Host) -> None:
    """The host was removed; its gateways wait for another."""
    for gateway in await of_host(write.connection, host.id):
        again = "again, or with another" if address_of(gateway.wanted_host) else "with another"
        why = NO_HOST if gateway.wanted_host == LOCAL else f"its host {host.name} was removed: apply it {again}"
        await update(write, gateway.name, host_id="", ready=False, message=why)


async def remove(write: Write, gateway: Gateway) -> None:
    await write.connection.execute(sa.delete(gateways).where(gateways.c.name == gateway.name))
    for of_it in (certificates, acknowledged):
        await write.connection.execute(sa.delete(of_it).where(of_it.c.gateway == gateway.name))
    _tell(write, gateway, f"gateway {gateway.name} was deleted")
    _touch(write, gateway)
    await _everybody(write, gateway, None)


async def put_own(write: Write, own: Gateway) -> None:
    """The gateway that a fresh server has: made at its first start, then as its settings say, until a file says more."""
    is_first = await meta.get(write.connection, _MADE) is None
    before = await get(write.connection, own.name)
    await meta.put_once(write, _MADE, "1")
    if before is None and is_first:
        await put(write, replace(own, default=True, message=NO_HOST), f"gateway {own.name} was made")
    elif before is not None and not before.applied:
        place = {field: getattr(own, field) for field in ("domain", "listen_address", "http_port")}
        if before.domain != own.domain:
            place["old_domain"] = before.domain
        await update(write, own.name, **place)


async def _set(write: Write, name: str, values: dict[str, Any]) -> None:
    if isinstance(values.get("certificate"), Certificate):
        values = {**values, "certificate": asdict(values["certificate"])}
    await write.connection.execute(sa.update(gateways).where(gateways.c.name == name).values(**values))


def _tell(write: Write, gateway: Gateway, sentence: str) -> None:
    events.record(write, kind="gateway", object_id=gateway.name, name=gateway.name, sentence=sentence)


async def _everybody(write: Write, before: Gateway | None, after: Gateway | None) -> None:
    """Hosts open their doors to the hosts of gateways: to others, when a gateway comes, goes or moves."""
    if (before.host_id if before else "") != (after.host_id if after else ""):
        write.touch(*(f"host:{host.id}" for host in await hosts.list_all(write.connection)))


def _touch(write: Write, *of: Gateway) -> None:
    write.touch("gateways", *(f"host:{gateway.host_id}" for gateway in of if gateway.host_id))
