"""Hosts in the database: guarded writes, domain values in and out, each change with its event."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain import happenings
from homeport_control.domain.errors import NotFound
from homeport_control.domain.hosts import (
    Connection,
    Door,
    Finding,
    Gpu,
    GpuNear,
    GpuProcess,
    Health,
    Host,
    HostFacts,
    Tunnel,
)
from homeport_control.store import events
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.kept import Kept
from homeport_control.store.schema import gateways, hosts, removed_hosts

_NOT_IN_DOMAIN = {"boot_id", "sequence", "generation"}
_MOVES = ("cordoned", "findings", "cordoned_gpus")  # what makes replicas leave
_TOLD = frozenset({"connection", "cordoned", "facts", "findings", "cordoned_gpus"})
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
    values["door"] = _door(values["door"])
    return Host(**values)


_KEPT, _KEPT_BARE = Kept(_made), Kept(_made)
_ID = [column.name for column in _FIELDS].index("id")


def _host(row: Sequence[Any]) -> Host:
    return _KEPT.of(row[_ID], tuple(row))


_DOOR = sa.cast(hosts.c.door, sa.Text).label("door")
_KEPT_DOORS = Kept(lambda row: _door(json.loads(row[0]) if row[0] is not None else None))


def _door(stored: dict[str, Any] | None) -> Door:
    if stored is None:
        return Door()
    errors = tuple((host_id, error) for host_id, error in stored["errors"])
    tunnels = tuple(
        Tunnel(it["gateway_host_id"], tuple(it["ports"]), it["message"]) for it in stored.get("tunnels", ())
    )
    reached_by, unheard = tuple(stored["reached_by"]), tuple(stored.get("unheard", ()))
    return Door(stored["address"], tuple(stored["ports"]), stored["message"], errors, reached_by, tunnels, unheard)


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


async def list_all(connection: AsyncConnection) -> tuple[Host, ...]:
    """All hosts, by name."""
    return await _in_pieces(connection, _COLUMNS, _KEPT)


async def list_without_facts(connection: AsyncConnection) -> tuple[Host, ...]:
    """As `list_all`, for who asks for none of the facts: they are nearly all of what is kept of a host."""
    return await _in_pieces(connection, _BARE, _KEPT_BARE)


async def _in_pieces(
    connection: AsyncConnection, columns: Sequence[sa.ColumnElement[Any]], kept: Kept[Host]
) -> tuple[Host, ...]:
    """A piece at a time, so that others have their turn on the event loop: a thousand hosts are megabytes of facts."""
    query = sa.select(*columns).order_by(hosts.c.name).limit(PIECE)
    found: list[Host] = []
    rows = (await connection.execute(query)).all()
    while rows:
        found += [kept.of(row[_ID], tuple(row)) for row in rows]
        if len(rows) < PIECE:
            break
        rows = (await connection.execute(query.where(hosts.c.name > found[-1].name))).all()
    return tuple(found)


async def named(connection: AsyncConnection, names: Iterable[str]) -> tuple[Host, ...]:
    """Those of these names or ids, by name."""
    found: dict[str, Host] = {}
    for some in chunks(names):
        query = sa.select(*_COLUMNS).where(hosts.c.name.in_(some) | hosts.c.id.in_(some))
        found |= {row[_ID]: _host(row) for row in await connection.execute(query)}
    return tuple(sorted(found.values(), key=lambda host: host.name))


async def by_id(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, Host]:
    """Those of these that there are."""
    found: dict[str, Host] = {}
    for some in chunks(host_ids):
        rows = (await connection.execute(sa.select(*_COLUMNS).where(hosts.c.id.in_(some)))).all()
        for start in range(0, len(rows), PIECE):
            found |= {row[_ID]: _host(row) for row in rows[start : start + PIECE]}
            await asyncio.sleep(0)  # others have their turn: in a fleet that has just come all of them are to be made
    return found


# Made once: SQLAlchemy takes as long for a statement with so many columns as the database for its answer.
_GET, _GET_BARE = (sa.select(*columns).where(hosts.c.id == sa.bindparam("which")) for columns in (_COLUMNS, _BARE))


async def get(connection: AsyncConnection, host_id: str) -> Host | None:
    row = (await connection.execute(_GET, {"which": host_id})).one_or_none()
    return _host(row) if row else None


async def get_without_facts(connection: AsyncConnection, host_id: str) -> Host | None:
    """As `get`, for who asks for none of the facts, which change again and again."""
    row = (await connection.execute(_GET_BARE, {"which": host_id})).one_or_none()
    return _KEPT_BARE.of(host_id, tuple(row)) if row else None


async def not_well(connection: AsyncConnection, host_ids: Iterable[str] | None = None) -> dict[str, Host]:
    """By id: the hosts that have findings or are drained, whole or in part; of all, or of these."""
    empty = {"[]"}
    wanted = sa.or_(
        hosts.c.cordoned,
        sa.cast(hosts.c.findings, sa.Text).not_in(empty),
        sa.cast(hosts.c.cordoned_gpus, sa.Text).not_in(empty),
    )
    queries = (
        [sa.select(*_COLUMNS).where(wanted)]
        if host_ids is None
        else [sa.select(*_COLUMNS).where(wanted, hosts.c.id.in_(some)) for some in chunks(host_ids)]
    )
    found = [_host(row) for query in queries for row in await connection.execute(query)]
    return {host.id: host for host in found}


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


async def doors(connection: AsyncConnection, host_ids: Iterable[str] | None = None) -> dict[str, Door]:
    """By host id: of those that have one, or could; of all, or of these."""
    query = sa.select(hosts.c.id, _DOOR).where(hosts.c.door.is_not(None))
    queries = [query] if host_ids is None else [query.where(hosts.c.id.in_(some)) for some in chunks(host_ids)]
    return {row.id: _KEPT_DOORS.of(row.id, (row.door,)) for each in queries for row in await connection.execute(each)}


async def put_door(write: Write, host_id: str, door: Door) -> None:
    """What is told of it; nothing is written when that is known."""
    await put_doors(write, {host_id: door})


async def count(connection: AsyncConnection) -> int:
    return int(await connection.scalar(sa.select(sa.func.count()).select_from(hosts)) or 0)


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


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A report's place among those of its host."""

    host_id: str
    boot_id: str
    sequence: int


async def accept_reports(write: Write, reports: Iterable[Sequenced]) -> frozenset[str]:
    """As `accept_report` in a session that is open, of several hosts, each once. The hosts whose report is newer."""
    asked = {report.host_id: report for report in reports}
    accepted: list[Sequenced] = []
    for some in chunks(asked):
        query = sa.select(hosts.c.id, hosts.c.boot_id, hosts.c.sequence).where(hosts.c.id.in_(some))
        for row in await write.connection.execute(query.with_for_update()):
            report = asked[row.id]
            if row.boot_id == report.boot_id and row.sequence < report.sequence:
                accepted.append(report)
    if accepted:
        newer = sa.update(hosts).where(hosts.c.id == sa.bindparam("which")).values(sequence=sa.bindparam("newer"))
        await write.connection.execute(newer, [{"which": it.host_id, "newer": it.sequence} for it in accepted])
    return frozenset(it.host_id for it in accepted)


async def put_facts(write: Write, told: Mapping[str, tuple[str, HostFacts]]) -> None:
    """What hosts say of themselves, in a few statements; by id, with who says it."""
    rows = []
    actor = write.actor
    for some in chunks(told):
        for row in await write.connection.execute(sa.select(*_COLUMNS).where(hosts.c.id.in_(some))):
            before = _host(row)
            write.actor, facts = told[before.id]
            if what := happenings.of_host(before, replace(before, facts=facts)):
                tell(write, before, what)
            rows.append({"which": before.id, "said": _stored(facts)})
            await asyncio.sleep(0)  # others have their turn: of dozens of hosts it takes long
    write.actor = actor
    if rows:
        query = sa.update(hosts).where(hosts.c.id == sa.bindparam("which"))
        await write.connection.execute(query.values(facts=sa.bindparam("said", type_=hosts.c.facts.type)), rows)
        write.touch("hosts")


async def put_doors(write: Write, told: Mapping[str, Door]) -> None:
    """As `put_door`, of several hosts."""
    before: dict[str, Door] = {}
    for some in chunks(told):
        for row in await write.connection.execute(sa.select(hosts.c.id, _DOOR).where(hosts.c.id.in_(some))):
            before[row.id] = _KEPT_DOORS.of(row.id, (row.door,))
    changed = {it: door for it, door in told.items() if it in before and before[it] != door}
    if not changed:
        return
    query = sa.update(hosts).where(hosts.c.id == sa.bindparam("which"))
    query = query.values(door=sa.bindparam("said", type_=hosts.c.door.type))
    await write.connection.execute(query, [{"which": it, "said": asdict(door)} for it, door in changed.items()])
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


async def update(write: Write, host_id: str, changed: Mapping[str, Any]) -> None:
    values = dict(changed)
    if isinstance(values.get("facts"), HostFacts):
        values["facts"] = _stored(values["facts"])
    if "findings" in values:
        values["findings"] = [asdict(finding) for finding in values["findings"]]
    if "door" in values:
        values["door"] = asdict(values["door"])
    if _TOLD & values.keys():
        values |= await _told(write, host_id, changed)
    await write.connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))
    moves = not changed.keys().isdisjoint(_MOVES)
    write.touch("hosts", *(("health",) if moves else ()), *(("presence",) if changed.keys() - {"facts"} else ()))


async def certified(write: Write, host_id: str, serial: str, presented: str = "") -> None:
    """It has a new certificate, for the one that it has shown; all others of it are worth nothing from now on."""
    values = {"serials": [it for it in (serial, presented) if it]}
    await write.connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))


async def next_generation(write: Write, host_id: str, above: int = 0) -> int:
    """A generation for an assignment that is about to be sent: greater than any before, also over restarts, and than `above`:
    what its agent has accepted from a server whose database was put back since.

    Raises NotFound for a host that was removed meanwhile.
    """
    query = (
        sa.update(hosts)
        .where(hosts.c.id == host_id)
        .values(generation=sa.case((hosts.c.generation < above, above), else_=hosts.c.generation) + 1)
        .returning(hosts.c.generation)
    )
    generation = (await write.connection.execute(query)).scalar_one_or_none()
    if generation is None:
        raise NotFound(f"host {host_id} is not part of the fleet any more")
    return int(generation)


async def after_restore(write: Write, now_s: float) -> None:
    """An older copy of the database goes on: hosts must follow it, though they have heard more than it knows.

    Generations jump to the time in seconds, which is beyond all that was ever sent (one a second at most, over the years):
    agents ignore what is older than what they have. Certificates that were given out since then are good: each host's next
    one, within a day, makes all others worth nothing again.
    """
    ahead = sa.case((hosts.c.generation < int(now_s), int(now_s)), else_=hosts.c.generation + 1)
    await write.connection.execute(sa.update(hosts).values(generation=ahead, serials=[]))
    write.touch("hosts", "presence")


async def _told(write: Write, host_id: str, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Record what is about to change. Returns the fields that change with it."""
    before = await get(write.connection, host_id)
    if before is None:
        return {}
    after = replace(before, **changed)
    if what := happenings.of_host(before, after):
        tell(write, after, what)
    moves = after.connection is not before.connection
    if after.connection is Connection.CONNECTED:  # while it is away, that it is away is what its replicas suffer from
        moves = moves or any(getattr(after, field) != getattr(before, field) for field in _MOVES)
    return {"cause_id": write.cause_id} if moves else {}


def tell(write: Write, host: Host, sentence: str) -> None:
    events.record(write, kind="host", object_id=host.id, name=host.name, sentence=sentence)
