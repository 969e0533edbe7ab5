"""Replicas and their reservations in the database: guarded writes, domain values in and out."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.hosts import Reservation
from homeport_control.domain.replicas import Observation, Phase, Replica, Wanted
from homeport_control.store.connect import Write
from homeport_control.store.schema import replicas, reservations, revisions

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
)


def _replica(row: sa.Row[Any]) -> Replica:
    values = dict(row._mapping)
    values.update(
        wanted=Wanted(values["wanted"]),
        phase=Phase(values["phase"]),
        log_tail=tuple(values["log_tail"]),
        gpu_uuids=tuple(values["gpu_uuids"]),
    )
    return Replica(**values)


def _values(replica: Replica) -> dict[str, Any]:
    values = {field: getattr(replica, field) for field in Replica.__slots__}
    values["log_tail"], values["gpu_uuids"] = list(replica.log_tail), list(replica.gpu_uuids)
    return values


async def _select(connection: AsyncConnection, *conditions: sa.ColumnElement[bool]) -> tuple[Replica, ...]:
    query = sa.select(replicas).where(*conditions).order_by(replicas.c.created_at_s, replicas.c.id)
    return tuple(_replica(row) for row in await connection.execute(query))


async def list_active(connection: AsyncConnection) -> tuple[Replica, ...]:
    """Replicas of which something is left, oldest first."""
    return await _select(connection, replicas.c.ended_at_s.is_(None))


async def of_runs(
    connection: AsyncConnection, run_ids: Iterable[str], *, ended_since_s: float | None = None
) -> dict[str, list[Replica]]:
    """By run id: replicas of which something is left, and those that ended since then."""
    wanted: sa.ColumnElement[bool] = replicas.c.ended_at_s.is_(None)
    if ended_since_s is not None:
        wanted = wanted | (replicas.c.ended_at_s >= ended_since_s)
    result: dict[str, list[Replica]] = {}
    for replica in await _select(connection, replicas.c.run_id.in_(list(run_ids)), wanted):
        result.setdefault(replica.run_id, []).append(replica)
    return result


async def on_host(connection: AsyncConnection, host_id: str) -> tuple[Replica, ...]:
    return await _select(connection, replicas.c.host_id == host_id, replicas.c.ended_at_s.is_(None))


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
    await write.connection.execute(sa.insert(replicas).values(**_values(replica)))
    write.touch("replicas")


async def update(write: Write, replica_id: str, **changed: Any) -> None:
    """Set fields of one replica that is not ended."""
    query = sa.update(replicas).where(replicas.c.id == replica_id, replicas.c.ended_at_s.is_(None))
    host_id = (await write.connection.execute(query.values(**changed).returning(replicas.c.host_id))).scalar()
    write.touch("replicas", f"host:{host_id}")


async def end(write: Write, replica_id: str, now_s: float) -> None:
    """Nothing is left of it: its reservation is free, and its host's assignment loses it."""
    await update(write, replica_id, ended_at_s=now_s, in_rotation=False)
    await write.connection.execute(sa.delete(reservations).where(reservations.c.replica_id == replica_id))
    write.touch("hosts")


async def observe(write: Write, host_id: str, observations: Iterable[Observation], now_s: float) -> int:
    """Write what one report says, where it differs; only for replicas that are on this host. Returns how many did."""
    known = {replica.id: replica for replica in await on_host(write.connection, host_id)}
    changed = 0
    for observation in observations:
        replica = known.get(observation.replica_id)
        if replica is None:
            continue  # of another host, or ended: a host speaks only for what it was given
        values = {field: getattr(observation, field) for field in _OBSERVED}
        if all(getattr(replica, field) == value for field, value in values.items()):
            continue
        values["log_tail"] = list(observation.log_tail)
        if observation.phase is Phase.READY and replica.first_ready_at_s is None:
            values["first_ready_at_s"] = now_s
        await write.connection.execute(sa.update(replicas).where(replicas.c.id == replica.id).values(**values))
        write.touch("replicas")
        changed += 1
    return changed


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
    if (await write.connection.execute(query)).rowcount != 1:
        return False
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
