"""Replicas and their reservations in the database: guarded writes, domain values in and out, each change with its event.

Causes: a change that somebody decided (what is wanted, lost with its host) has the transaction's cause, and the replica
carries it from then on; what follows (its phases, its rotation, its end) has the cause that it carries. When it stops serving
by itself, that is a new cause.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain import happenings
from homeport_control.domain.hosts import Reservation
from homeport_control.domain.replicas import Observation, Phase, Replica, Wanted
from homeport_control.store import events
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.schema import hosts, replicas, reservations, revisions, runs

_OBSERVED = (
    "phase",
    "message",
    "host_port",
    "restarts",
    "exit_code",
    "pulled_bytes",
    "pull_total_bytes",
    "probes_passed",
    "probes_total",
    "log_tail",
    "refused",
)
_TOLD = frozenset({"wanted", "lost", "ended_at_s", "in_rotation", "drained_at_s", "phase", "restarts", "exit_code"})
_DECIDED = frozenset({"wanted", "lost"})  # changes that have the transaction's cause


# Lists come as their text, so that a row can be compared with one that was read before.
_COLUMNS = tuple(
    sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column
    for column in (replicas.c[field] for field in Replica.__slots__)
)


@lru_cache(maxsize=20_000)  # the loops read all of them at each turn, and one of them has changed
def _replica(*row: Any) -> Replica:
    values = dict(zip(Replica.__slots__, row, strict=True))
    values.update(
        wanted=Wanted(values["wanted"]),
        phase=Phase(values["phase"]),
        log_tail=tuple(json.loads(values["log_tail"])),
        gpu_uuids=tuple(json.loads(values["gpu_uuids"])),
    )
    return Replica(**values)


def _values(replica: Replica) -> dict[str, Any]:
    values = {field: getattr(replica, field) for field in Replica.__slots__}
    values["log_tail"], values["gpu_uuids"] = list(replica.log_tail), list(replica.gpu_uuids)
    return values


async def _select(connection: AsyncConnection, *conditions: sa.ColumnElement[bool]) -> tuple[Replica, ...]:
    query = sa.select(*_COLUMNS).where(*conditions).order_by(replicas.c.created_at_s, replicas.c.id)
    return tuple(_replica(*row) for row in (await connection.execute(query)).all())


async def list_active(connection: AsyncConnection) -> tuple[Replica, ...]:
    """Replicas of which something is left, oldest first."""
    return await _select(connection, replicas.c.ended_at_s.is_(None))


async def emptied_at_s(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, float]:
    """When the last replica on each of these hosts ended, by host id; none for a host that never had one."""
    found: dict[str, float] = {}
    for some in chunks(host_ids):
        query = sa.select(replicas.c.host_id, sa.func.max(replicas.c.ended_at_s)).where(replicas.c.host_id.in_(some))
        rows = await connection.execute(query.group_by(replicas.c.host_id))
        found |= {host_id: at_s for host_id, at_s in rows if at_s is not None}
    return found


async def of_runs(
    connection: AsyncConnection, run_ids: Iterable[str], *, ended_since_s: float | None = None
) -> dict[str, list[Replica]]:
    """By run id: replicas of which something is left, and those that ended since then."""
    wanted: sa.ColumnElement[bool] = replicas.c.ended_at_s.is_(None)
    if ended_since_s is not None:
        wanted = wanted | (replicas.c.ended_at_s >= ended_since_s)
    result: dict[str, list[Replica]] = {}
    for some in chunks(run_ids):
        for replica in await _select(connection, replicas.c.run_id.in_(some), wanted):
            result.setdefault(replica.run_id, []).append(replica)
    return result


async def last_of(connection: AsyncConnection, run_ids: Iterable[str], most: int) -> dict[str, list[Replica]]:
    """By run id: the `most` last replicas of its newest revision that had any, of those that ended; oldest first."""
    age = sa.func.row_number().over(
        partition_by=replicas.c.run_id,
        order_by=(replicas.c.revision.desc(), replicas.c.created_at_s.desc(), replicas.c.id.desc()),
    )
    result: dict[str, list[Replica]] = {}
    for some in chunks(run_ids):
        ended = (replicas.c.run_id.in_(some), replicas.c.ended_at_s.is_not(None))
        ranked = sa.select(replicas.c.id, age.label("age")).where(*ended).subquery()
        newest = sa.select(ranked.c.id).where(ranked.c.age <= most)
        for replica in await _select(connection, replicas.c.id.in_(newest)):
            result.setdefault(replica.run_id, []).append(replica)
    return {
        run_id: [replica for replica in found if replica.revision == max(each.revision for each in found)]
        for run_id, found in result.items()
    }


async def on_host(connection: AsyncConnection, host_id: str) -> tuple[Replica, ...]:
    return await _select(connection, replicas.c.host_id == host_id, replicas.c.ended_at_s.is_(None))


async def strangers(connection: AsyncConnection, replica_ids: Iterable[str]) -> tuple[str, ...]:
    """Those of which there was never a row here, sorted."""
    wanted = set(replica_ids)
    for some in chunks(wanted):
        wanted -= set(await connection.scalars(sa.select(replicas.c.id).where(replicas.c.id.in_(some))))
    return tuple(sorted(wanted))


async def has_code(connection: AsyncConnection, host_id: str, code_id: str) -> bool:
    """A replica whose revision has this code is assigned to this host."""
    query = (
        sa.select(replicas.c.id)
        .join(revisions, (revisions.c.run_id == replicas.c.run_id) & (revisions.c.number == replicas.c.revision))
        .where(replicas.c.host_id == host_id, replicas.c.ended_at_s.is_(None))
        .where(revisions.c.code_id == code_id, revisions.c.code_id != "")
    )
    return (await connection.scalar(query.limit(1))) is not None


async def insert(write: Write, replica: Replica) -> None:
    """Without a cause of its own it has the transaction's."""
    replica = replace(replica, cause_id=replica.cause_id or write.cause_id)
    run_name = sa.select(runs.c.name).where(runs.c.id == replica.run_id).scalar_subquery()
    query = sa.insert(replicas).values(**_values(replica)).returning(run_name)
    _tell(write, replica, str((await write.connection.execute(query)).scalar()), "is wanted", replica.cause_id)
    write.touch("replicas")


async def update(write: Write, replica_id: str, **changed: Any) -> None:
    """Set fields of one replica that is not ended."""
    if _TOLD & changed.keys():
        changed |= await _told(write, replica_id, changed)
    query = sa.update(replicas).where(replicas.c.id == replica_id, replicas.c.ended_at_s.is_(None))
    host_id = (await write.connection.execute(query.values(**changed).returning(replicas.c.host_id))).scalar()
    write.touch("replicas", f"host:{host_id}")


async def renumber(write: Write, replica: Replica, run_name: str, revision: int) -> None:
    """It goes on, container and claim and all, as a replica of a revision whose container would be the same."""
    await update(write, replica.id, revision=revision, cause_id=write.cause_id)
    # What it was seen to need holds for the revision that it is one of now.
    old, new = (revisions.alias(), revisions)
    peak = sa.select(old.c.gpu_memory_peak_mib).where(old.c.run_id == replica.run_id, old.c.number == replica.revision)
    known = sa.update(new).where(new.c.run_id == replica.run_id, new.c.number == revision)
    await write.connection.execute(
        known.where(new.c.gpu_memory_peak_mib.is_(None)).values(gpu_memory_peak_mib=peak.scalar_subquery())
    )
    claim = sa.update(reservations).where(reservations.c.replica_id == replica.id)
    await write.connection.execute(claim.values(revision=revision))
    _tell(write, replica, run_name, f"goes on as it is, as one of revision {revision}", write.cause_id)


async def _told(write: Write, replica_id: str, changed: dict[str, Any]) -> dict[str, Any]:
    """Record what is about to change. Returns the fields that change with it."""
    query = (
        sa.select(*_COLUMNS, runs.c.name.label("run_name"), hosts.c.name.label("host_name"))
        .join(runs, runs.c.id == replicas.c.run_id)
        .join(hosts, hosts.c.id == replicas.c.host_id, isouter=True)
        .where(replicas.c.id == replica_id, replicas.c.ended_at_s.is_(None))
    )
    row = (await write.connection.execute(query)).one_or_none()
    if row is None:
        return {}
    before = _replica(*row[: len(_COLUMNS)])
    after = replace(before, **changed)
    what = happenings.of_replica(before, after, row.host_name or "")
    if not what:
        return {}
    decided = any(getattr(before, field) != getattr(after, field) for field in _DECIDED)
    # One that ends while it is wanted never had a host, or somebody wanted its run to end.
    decided = decided or (after.ended_at_s is not None and after.wanted is Wanted.RUN)
    cause_id = write.cause_id if decided else before.cause_id or write.cause_id
    _tell(write, after, row.run_name, what, cause_id)
    return {"cause_id": cause_id}


def _tell(write: Write, replica: Replica, run_name: str, what: str, cause_id: str) -> None:
    events.record(
        write,
        kind="replica",
        object_id=replica.id,
        name=f"{run_name}/{replica.index}",
        run_name=run_name,
        sentence=f"{happenings.who(replica, run_name)} {what}",
        cause_id=cause_id,
    )


async def end(write: Write, replica_id: str, now_s: float) -> None:
    """Nothing is left of it: its reservation is free, and its host's assignment loses it."""
    await update(write, replica_id, ended_at_s=now_s, in_rotation=False)
    await write.connection.execute(sa.delete(reservations).where(reservations.c.replica_id == replica_id))
    write.touch("hosts")


async def observe(write: Write, host_id: str, observations: Iterable[Observation], now_s: float) -> int:
    """Write what one report says, where it differs; only for replicas that are on this host. Returns how many did."""
    known = {replica.id: replica for replica in await on_host(write.connection, host_id)}
    told: list[tuple[Replica, str]] = []
    changed = 0
    for observation in observations:
        replica = known.get(observation.replica_id)
        if replica is None:
            continue  # of another host, or ended: a host speaks only for what it was given
        values = {field: getattr(observation, field) for field in _OBSERVED}
        if all(getattr(replica, field) == value for field, value in values.items()):
            continue
        if replica.refused:  # why outlives that it is cleared away: the next one is placed with it in mind
            values |= {"refused": True, "message": replica.message}
        values["log_tail"] = list(observation.log_tail)
        if observation.phase is Phase.READY and replica.first_ready_at_s is None:
            values["first_ready_at_s"] = now_s
        after = replace(replica, **{**values, "log_tail": observation.log_tail})
        what = happenings.of_replica(replica, after, "")
        if what:
            if happenings.by_itself(replica, after):
                values["cause_id"] = events.new_cause()
            told.append((replace(after, cause_id=values.get("cause_id") or replica.cause_id), what))
        await write.connection.execute(sa.update(replicas).where(replicas.c.id == replica.id).values(**values))
        write.touch("replicas")
        changed += 1
    if told:
        names = await _run_names(write.connection, {replica.run_id for replica, _ in told})
        for replica, what in told:
            _tell(write, replica, names[replica.run_id], what, replica.cause_id)
    return changed


async def _run_names(connection: AsyncConnection, run_ids: Iterable[str]) -> dict[str, str]:
    query = sa.select(runs.c.id, runs.c.name).where(runs.c.id.in_(list(run_ids)))
    return {row.id: row.name for row in await connection.execute(query)}


async def claim(write: Write, reservation: Reservation) -> bool:
    """Place a waiting replica with its claim, in this transaction. False when it is not waiting any more.

    The caller decided on a snapshot that it read in this same transaction, under the one writer's lock, so what it
    claims is still free (invariant 1).
    """
    values = {"host_id": reservation.host_id, "gpu_uuids": list(reservation.gpu_uuids), "message": "assigned"}
    query = (
        sa.update(replicas)
        .where(
            replicas.c.id == reservation.replica_id,
            replicas.c.host_id.is_(None),
            replicas.c.ended_at_s.is_(None),
            replicas.c.wanted == Wanted.RUN,
        )
        .values(**values)
    )
    host_name = sa.select(hosts.c.name).where(hosts.c.id == reservation.host_id).scalar_subquery()
    run_name = sa.select(runs.c.name).where(runs.c.id == replicas.c.run_id).scalar_subquery()
    placed = query.returning(*_COLUMNS, run_name.label("run_name"), host_name.label("host_name"))
    row = (await write.connection.execute(placed)).one_or_none()
    if row is None:
        return False
    replica = _replica(*row[: len(_COLUMNS)])
    _tell(write, replica, row.run_name, f"is placed on {row.host_name}", replica.cause_id)
    claimed = {field: getattr(reservation, field) for field in Reservation.__slots__}
    claimed["gpu_uuids"] = list(reservation.gpu_uuids)
    await write.connection.execute(sa.insert(reservations).values(**claimed))
    write.touch("replicas", "hosts", f"host:{reservation.host_id}")
    return True


async def list_reservations(connection: AsyncConnection) -> tuple[Reservation, ...]:
    query = sa.select(reservations).order_by(reservations.c.replica_id)
    result = []
    for row in await connection.execute(query):
        values = dict(row._mapping)
        values["gpu_uuids"] = tuple(values["gpu_uuids"])
        result.append(Reservation(**values))
    return tuple(result)
