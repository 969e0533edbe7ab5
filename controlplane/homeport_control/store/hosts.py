"""Hosts in the database: guarded writes, domain values in and out, each change with its event."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain import happenings
from homeport_control.domain.hosts import Connection, Finding, Gpu, GpuNear, GpuProcess, Health, Host, HostFacts
from homeport_control.store import doors, events
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.kept import Kept
from homeport_control.store.mirror import Mirror
from homeport_control.store.schema import hosts, removed_hosts
from homeport_control.store.set_each import WHICH, set_each
from homeport_control.store.turns import Turns

_NOT_IN_DOMAIN = {"boot_id", "sequence", "generation", "version"}
_MOVES = ("cordoned", "findings", "cordoned_gpus")  # what makes replicas leave
_TOLD = frozenset({"connection", "cordoned", "facts", "findings", "cordoned_gpus"})
_OF_FACTS = frozenset({"facts", "findings", "cordoned_gpus"})  # what is told of these names GPUs
PIECE = 100  # hosts that are read at once


# What is JSON comes as its text, so that a row can be compared with one that was read before.
_FIELDS = tuple(column for column in hosts.c if column.name not in _NOT_IN_DOMAIN)
_COLUMNS = tuple(
    sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column for column in _FIELDS
)
_BARE = tuple(sa.literal("{}").label("facts") if it.name == "facts" else it for it in _COLUMNS)
_JSON = frozenset(column.name for column in _FIELDS if isinstance(column.type, sa.JSON))


def _made(row: tuple[Any, ...]) -> Host:
    values = {column.name: value for column, value in zip(_FIELDS, row, strict=True)}
    values |= {name: json.loads(text) if (text := values[name]) is not None else None for name in _JSON}
    values["facts"] = facts_from_row(values["facts"])
    values["findings"] = tuple(Finding(**{**it, "severity": Health(it["severity"])}) for it in values["findings"])
    values["cordoned_gpus"] = tuple(values["cordoned_gpus"])
    values["serials"] = tuple(values["serials"])
    values["labels"] = tuple((key, value) for key, value in values["labels"])
    values["connection"] = Connection(values["connection"])
    values["door"] = doors.door_from_row(values["door"])
    return Host(**values)


_KEPT, _KEPT_BARE = Kept(_made), Kept(_made)
_ID = [column.name for column in _FIELDS].index("id")


def _host(row: Sequence[Any]) -> Host:
    return _KEPT.of(row[_ID], tuple(row))


def _stored(facts: HostFacts) -> dict[str, Any]:
    """As `asdict`, which takes ten times as long for a host with eight GPUs."""
    gpus = [
        {**_fields(gpu), "near": list(map(_fields, gpu.near)), "processes": list(map(_fields, gpu.processes))}
        for gpu in facts.gpus
    ]
    return {**_fields(facts), "gpus": gpus}


def _fields(value: HostFacts | Gpu | GpuNear | GpuProcess) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def facts_from_row(stored: dict[str, Any]) -> HostFacts:
    """Reads what `asdict` made of them."""
    gpus = tuple(
        Gpu(
            **{
                **gpu,
                "near": tuple(GpuNear(**it) for it in gpu.get("near", ())),
                "processes": tuple(GpuProcess(**it) for it in gpu.get("processes", ())),
            }
        )
        for gpu in stored.get("gpus", ())
    )
    return HostFacts(**{**stored, "gpus": gpus, "images": tuple(stored.get("images", ()))})


# Made once: SQLAlchemy takes as long for a statement with so many columns as the database for its answer.
_GET, _GET_BARE = (sa.select(*columns).where(hosts.c.id == sa.bindparam("which")) for columns in (_COLUMNS, _BARE))
_SOME, _SOME_BARE = (
    sa.select(*columns).where(hosts.c.id.in_(sa.bindparam("some", expanding=True))) for columns in (_COLUMNS, _BARE)
)
_MIRROR = Mirror(hosts, _COLUMNS, _host, hosts.c.id)


async def all_by_id(connection: AsyncConnection) -> Mapping[str, Host]:
    """All hosts."""
    return (await _MIRROR.read(connection)).by_id


async def list_all(connection: AsyncConnection) -> tuple[Host, ...]:
    """All hosts, by name."""
    return (await _MIRROR.read(connection)).derived(_by_name)


async def by_connection(connection: AsyncConnection) -> Mapping[Connection, Sequence[Host]]:
    """All hosts, by how they are connected; none for what none of them is."""
    return (await _MIRROR.read(connection)).derived(_by_connection)


def _by_connection(known: Mapping[str, Host]) -> dict[Connection, list[Host]]:
    found: dict[Connection, list[Host]] = {}
    for host in known.values():
        found.setdefault(host.connection, []).append(host)
    return found


def _by_name(known: Mapping[str, Host]) -> tuple[Host, ...]:
    return tuple(sorted(known.values(), key=lambda host: host.name))


async def named(connection: AsyncConnection, names: Iterable[str]) -> tuple[Host, ...]:
    """Those of these names or ids, by name."""
    found: dict[str, Host] = {}
    for some in chunks(names):
        query = sa.select(*_COLUMNS).where(hosts.c.name.in_(some) | hosts.c.id.in_(some))
        found |= {row[_ID]: _host(row) for row in await connection.execute(query)}
    return tuple(sorted(found.values(), key=lambda host: host.name))


async def get(connection: AsyncConnection, host_id: str) -> Host | None:
    row = (await connection.execute(_GET, {"which": host_id})).one_or_none()
    return _host(row) if row else None


async def get_without_facts(connection: AsyncConnection, host_id: str) -> Host | None:
    """As `get`, for who asks for none of the facts, which change again and again."""
    row = (await connection.execute(_GET_BARE, {"which": host_id})).one_or_none()
    return _KEPT_BARE.of(host_id, tuple(row)) if row else None


async def by_id(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, Host]:
    """Those of these that there are."""
    wanted = set(host_ids)
    if len(wanted) <= PIECE:
        return await _some(connection, _SOME, _KEPT, wanted)
    there = await all_by_id(connection)
    return {host_id: there[host_id] for host_id in wanted if host_id in there}


async def by_id_without_facts(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, Host]:
    """As `by_id`, for who asks for none of the facts."""
    return await _some(connection, _SOME_BARE, _KEPT_BARE, host_ids)


async def _some(
    connection: AsyncConnection, query: sa.Select[Any], kept: Kept[Host], host_ids: Iterable[str]
) -> dict[str, Host]:
    found: dict[str, Host] = {}
    for some in chunks(host_ids, PIECE):
        rows = (await connection.execute(query, {"some": some})).all()
        found |= {row[_ID]: kept.of(row[_ID], tuple(row)) for row in rows}
        await asyncio.sleep(0)  # others have their turn: in a fleet that has just come all of them are to be made
    return found


async def not_well(connection: AsyncConnection) -> Mapping[str, Host]:
    """By id: the hosts that have findings or are drained, whole or in part."""
    return (await _MIRROR.read(connection)).derived(_not_well)


def _not_well(known: Mapping[str, Host]) -> dict[str, Host]:
    return {host.id: host for host in known.values() if host.cordoned or host.findings or host.cordoned_gpus}


async def insert(write: Write, host: Host) -> None:
    values: dict[str, Any] = asdict(replace(host, cause_id=write.cause_id))
    for field in ("price", "spot", "door"):  # the way in opens later
        values.pop(field)
    await write.connection.execute(sa.insert(hosts).values(**values, boot_id="", sequence=0, generation=0))
    tell(write, host, f"host {host.name} has joined the fleet {host.fleet} from {host.address}")
    write.touch("hosts", "presence")


async def remove(write: Write, host: Host, now_s: float) -> None:
    """It is no host any more, and that is remembered. Its replicas have ended and its volumes are forgotten before."""
    tombstone = {"id": host.id, "name": host.name, "removed_at_s": now_s}
    await write.connection.execute(sa.insert(removed_hosts).values(tombstone))
    await write.connection.execute(sa.delete(hosts).where(hosts.c.id == host.id))
    tell(write, host, f"host {host.name} was removed from the fleet {host.fleet}")
    write.touch("hosts", "health", "presence")


async def was_removed(connection: AsyncConnection, host_id: str) -> bool:
    query = sa.select(removed_hosts.c.id).where(removed_hosts.c.id == host_id)
    return (await connection.execute(query)).one_or_none() is not None


async def count(connection: AsyncConnection) -> int:
    return int(await connection.scalar(sa.select(sa.func.count()).select_from(hosts)) or 0)


async def unused_name(connection: AsyncConnection, wanted: str) -> str:
    """The wanted name, or with -2, -3 … behind it when it is taken."""
    like_it = (hosts.c.name == wanted) | hosts.c.name.startswith(f"{wanted}-", autoescape=True)
    taken = set(await connection.scalars(sa.select(hosts.c.name).where(like_it)))
    candidate, number = wanted, 1
    while candidate in taken:
        number += 1
        candidate = f"{wanted}-{number}"
    return candidate


@dataclass(frozen=True, slots=True)
class Change:
    """What is set of a host. Without an actor and a cause of its own it has the transaction's."""

    host_id: str
    values: Mapping[str, Any]
    actor: str = ""
    cause_id: str = ""


async def update(write: Write, host_id: str, changed: Mapping[str, Any]) -> None:
    await update_all(write, [Change(host_id, changed)])


async def update_all(write: Write, changes: Sequence[Change]) -> None:
    """As `update`, of many hosts, each once, in a few statements."""
    before = await _before(write.connection, changes)
    actor, cause_id = write.actor, write.cause_id
    rows: list[dict[str, Any]] = []
    turns = Turns()
    for it in changes:
        known, values = before.get(it.host_id), dict(it.values)
        if known is not None:
            values = {field: value for field, value in values.items() if getattr(known, field) != value}
            write.actor, write.cause_id = it.actor or actor, it.cause_id or cause_id
            values |= _told(write, known, values)
        if values:
            rows.append({WHICH: it.host_id, **_as_stored(values)})
            await turns.give()  # of dozens of hosts it takes long
    write.actor, write.cause_id = actor, cause_id
    await set_each(write, hosts, rows)
    fields = {field for row in rows for field in row} - {WHICH}
    if fields:
        write.touch("hosts")
    if not fields.isdisjoint(_MOVES):
        write.touch("health")
    if fields - {"facts"}:
        write.touch("presence")


async def _before(connection: AsyncConnection, changes: Iterable[Change]) -> dict[str, Host]:
    """By id, as they are before: those of which something is told."""
    told = [it for it in changes if _TOLD & it.values.keys()]
    read = by_id_without_facts if all(it.values.keys().isdisjoint(_OF_FACTS) for it in told) else by_id
    return await read(connection, [it.host_id for it in told])


def _as_stored(changed: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(changed)
    if isinstance(values.get("facts"), HostFacts):
        values["facts"] = _stored(values["facts"])
    if "findings" in values:
        values["findings"] = [asdict(finding) for finding in values["findings"]]
    return values


async def certified(write: Write, host_id: str, serial: str, presented: str = "") -> None:
    """It has a new certificate, for the one that it has shown; all others of it are worth nothing from now on."""
    values = {"serials": [it for it in (serial, presented) if it]}
    await write.connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))


def _told(write: Write, before: Host, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Record what is about to change. Returns the fields that change with it."""
    after = replace(before, **changed)
    if what := happenings.of_host(before, after):
        tell(write, after, what)
    moves = after.connection is not before.connection
    if after.connection is Connection.CONNECTED:  # while it is away, that it is away is what its replicas suffer from
        moves = moves or any(getattr(after, field) != getattr(before, field) for field in _MOVES)
    return {"cause_id": write.cause_id} if moves else {}


def tell(write: Write, host: Host, sentence: str) -> None:
    events.record(write, kind="host", object_id=host.id, name=host.name, sentence=sentence)
