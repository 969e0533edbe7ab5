"""Replicas and their reservations in the database: guarded writes, domain values in and out, each change with its event.

Causes: a change that somebody decided (what is wanted, lost with its host) has the transaction's cause, and the replica
carries it from then on; what follows (its phases, its rotation, its end) has the cause that it carries. When it stops serving
by itself, that is a new cause.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain import happenings
from homeport_control.domain.hosts import Reservation
from homeport_control.domain.replicas import Observation, Phase, Replica, Wanted
from homeport_control.store import events
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.mirror import Mirror
from homeport_control.store.replica_rows import COLUMNS, replica_of, values_of
from homeport_control.store.schema import hosts, replicas, reservations, revisions, runs
from homeport_control.store.set_each import WHICH, set_each

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
_ASSIGNED = frozenset({"wanted", "stop_grace_s", "revision", "index", "ended_at_s", "host_id", "gpu_uuids"})
PIECE = 200  # rows that are read at once
_DECIDED = frozenset({"wanted", "lost"})  # changes that have the transaction's cause


_LEFT = replicas.c.ended_at_s.is_(None)
# Of those of which something is left; nothing is ever left again of one of which nothing is.
_MIRROR = Mirror(replicas, COLUMNS, replica_of, replicas.c.id, _LEFT)


def _query(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Of those after one, by id."""
    return (
        sa.select(*COLUMNS)
        .where(*conditions, replicas.c.id > sa.bindparam("after"))
        .order_by(replicas.c.id)
        .limit(sa.bindparam("most"))
    )


async def _select(connection: AsyncConnection, *conditions: sa.ColumnElement[bool]) -> tuple[Replica, ...]:
    """Oldest first."""
    return await _read(connection, _query(*conditions))


async def _read(connection: AsyncConnection, query: sa.Select[Any], **parameters: object) -> tuple[Replica, ...]:
    """Oldest first. A piece at a time, so that others have their turn on the event loop between them.

    `query`: of at most `most`, by id, `after` one.
    """
    found: list[Replica] = []
    rows = (await connection.execute(query, {"after": "", "most": PIECE, **parameters})).all()
    while rows:
        found += [replica_of(row) for row in rows]
        if len(rows) < PIECE:
            break
        rows = (await connection.execute(query, {"after": found[-1].id, "most": PIECE, **parameters})).all()
    return tuple(sorted(found, key=lambda it: (it.created_at_s, it.id)))


async def active_and_count(connection: AsyncConnection) -> tuple[Mapping[str, Replica], Mapping[str, int]]:
    """Replicas of which something is left, by id; and how many of them are on each host."""
    state = await _MIRROR.read(connection)
    return state.by_id, state.derived(_count_by_host)


async def list_active(connection: AsyncConnection) -> tuple[Replica, ...]:
    """Replicas of which something is left, oldest first."""
    return (await _MIRROR.read(connection)).derived(_oldest_first)


def _oldest_first(known: Mapping[str, Replica]) -> tuple[Replica, ...]:
    return tuple(sorted(known.values(), key=lambda it: (it.created_at_s, it.id)))


async def waiting(connection: AsyncConnection) -> tuple[Replica, ...]:
    """Those that are wanted and have no host yet, oldest first."""
    return (await _MIRROR.read(connection)).derived(_waiting)


def _waiting(known: Mapping[str, Replica]) -> tuple[Replica, ...]:
    return _oldest_first({it.id: it for it in known.values() if it.host_id is None and it.wanted is Wanted.RUN})


async def lost_or_on(connection: AsyncConnection, host_ids: Iterable[str]) -> tuple[Replica, ...]:
    """Those that are marked lost, and all on these hosts."""
    there, state = set(host_ids), await _MIRROR.read(connection)
    if not there:
        return state.derived(_lost)
    return tuple(it for it in state.derived(_oldest_first) if it.lost or it.host_id in there)


def _lost(known: Mapping[str, Replica]) -> tuple[Replica, ...]:
    return _oldest_first({it.id: it for it in known.values() if it.lost})


async def emptied_at_s(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, float]:
    """When the last replica on each of these hosts ended, by host id; none for a host that never had one."""
    found: dict[str, float] = {}
    for some in chunks(host_ids):
        query = sa.select(replicas.c.host_id, sa.func.max(replicas.c.ended_at_s)).where(replicas.c.host_id.in_(some))
        rows = await connection.execute(query.group_by(replicas.c.host_id))
        found |= {host_id: at_s for host_id, at_s in rows if at_s is not None}
    return found


_OF_RUN = _query(_LEFT, replicas.c.run_id == sa.bindparam("run"))
# Few have ended lately, of all that ever ended in these runs: the runs, spelled so, are not what they are looked for by.
_ENDED_LATELY = sa.select(*COLUMNS).where(
    replicas.c.ended_at_s >= sa.bindparam("since_s"),
    (replicas.c.run_id + "").in_(sa.bindparam("some", expanding=True)),
)


async def of_runs(
    connection: AsyncConnection, run_ids: Iterable[str], *, ended_since_s: float | None = None
) -> dict[str, list[Replica]]:
    """By run id, oldest first: replicas of which something is left, and those that ended since then."""
    wanted = set(run_ids)
    left = (await _MIRROR.read(connection)).derived(_by_run)
    result = {run_id: list(left[run_id]) for run_id in wanted if run_id in left}
    if ended_since_s is not None:
        _add(result, await _ended(connection, wanted, ended_since_s))
    return result


def _by_run(known: Mapping[str, Replica]) -> dict[str, list[Replica]]:
    found: dict[str, list[Replica]] = {}
    for replica in _oldest_first(known):
        found.setdefault(replica.run_id, []).append(replica)
    return found


async def of_run(
    connection: AsyncConnection, run_id: str, *, ended_since_s: float | None = None
) -> tuple[Replica, ...]:
    """As `of_runs`, of one: costs as much as it has, whatever else has changed."""
    found = {run_id: list(await _read(connection, _OF_RUN, run=run_id))}
    if ended_since_s is not None:
        _add(found, await _ended(connection, [run_id], ended_since_s))
    return tuple(found[run_id])


def _add(found: dict[str, list[Replica]], ended: Iterable[Replica]) -> None:
    for replica in ended:
        found.setdefault(replica.run_id, []).append(replica)
    for run_id in {replica.run_id for replica in ended}:
        found[run_id].sort(key=lambda it: (it.created_at_s, it.id))


async def _ended(connection: AsyncConnection, run_ids: Iterable[str], since_s: float) -> list[Replica]:
    found: list[Replica] = []
    for some in chunks(run_ids):
        rows = await connection.execute(_ENDED_LATELY, {"some": some, "since_s": since_s})
        found += [replica_of(row) for row in rows.all()]
    return found


async def by_id(connection: AsyncConnection, replica_ids: Iterable[str]) -> dict[str, Replica]:
    """Those of these of which something is left."""
    result: dict[str, Replica] = {}
    for some in chunks(replica_ids):
        found = await _select(connection, replicas.c.id.in_(some), replicas.c.ended_at_s.is_(None))
        result |= {replica.id: replica for replica in found}
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


async def count_by_host(connection: AsyncConnection) -> Mapping[str, int]:
    """Of those of which something is left; none for a host without."""
    return (await _MIRROR.read(connection)).derived(_count_by_host)


def _count_by_host(known: Mapping[str, Replica]) -> Counter[str]:
    return Counter(it.host_id for it in known.values() if it.host_id is not None)


# Made once: SQLAlchemy takes as long for a statement with so many columns as the database for its answer.
_ON_HOSTS = _query(replicas.c.host_id.in_(sa.bindparam("there", expanding=True)), _LEFT)


async def on_hosts(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, list[Replica]]:
    """By host id, of each oldest first: those of which something is left."""
    found: dict[str, list[Replica]] = {}
    for some in chunks(host_ids):
        for replica in await _read(connection, _ON_HOSTS, there=some):
            found.setdefault(replica.host_id or "", []).append(replica)
    return found


async def on_host(connection: AsyncConnection, host_id: str) -> tuple[Replica, ...]:
    return tuple((await on_hosts(connection, [host_id])).get(host_id, ()))


async def strangers(connection: AsyncConnection, replica_ids: Iterable[str]) -> frozenset[str]:
    """Those of which there was never a row here."""
    wanted = set(replica_ids)
    for some in chunks(sorted(wanted)):
        wanted -= set(await connection.scalars(sa.select(replicas.c.id).where(replicas.c.id.in_(some))))
    return frozenset(wanted)


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
    await insert_all(write, [replica])


async def insert_all(write: Write, new: Iterable[Replica]) -> None:
    """As `insert`, of many in a few statements."""
    made = [replace(replica, cause_id=replica.cause_id or write.cause_id) for replica in new]
    if not made:
        return
    names = await _run_names(write.connection, {replica.run_id for replica in made})
    await write.connection.execute(sa.insert(replicas), [values_of(replica) for replica in made])
    for replica in made:
        _tell(write, replica, names[replica.run_id], "is wanted", replica.cause_id)
    write.touch("replicas")


async def update(write: Write, replica_id: str, **changed: Any) -> None:
    """Set fields of one replica that is not ended."""
    await update_all(write, {replica_id: changed})


async def update_all(write: Write, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """As `update`, of many in a few statements: by id, what is set of each."""
    if not changes:
        return
    before = await _present(write, changes)
    rows = []
    for replica_id, changed in changes.items():
        if replica_id not in before:
            continue
        known = before[replica_id]
        more = _told(write, known, changed) if _TOLD & changed.keys() else {}
        rows.append({WHICH: replica_id, **changed, **more})
        if known.replica.host_id and _ASSIGNED & changed.keys():  # what its host is told
            write.touch(f"host:{known.replica.host_id}")
    await set_each(write, replicas, rows, _LEFT)
    write.touch("replicas")


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


@dataclass(frozen=True, slots=True)
class _Present:
    replica: Replica
    run_name: str
    host_name: str


async def _present(write: Write, ids: Iterable[str]) -> dict[str, _Present]:
    """Those of these that have not ended, as they are before they are changed: nobody else changes them until then."""
    query = (
        sa.select(*COLUMNS, runs.c.name.label("run_name"), hosts.c.name.label("host_name"))
        .join(runs, runs.c.id == replicas.c.run_id)
        .join(hosts, hosts.c.id == replicas.c.host_id, isouter=True)
        .where(replicas.c.ended_at_s.is_(None))
        .with_for_update(of=replicas)
    )
    found: dict[str, _Present] = {}
    for some in chunks(ids):
        for row in await write.connection.execute(query.where(replicas.c.id.in_(some))):
            replica = replica_of(row[: len(COLUMNS)])
            found[replica.id] = _Present(replica, row.run_name, row.host_name or "")
    return found


def _told(write: Write, known: _Present, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Record what is about to change. Returns the fields that change with it."""
    before = known.replica
    after = replace(before, **changed)
    what = happenings.of_replica(before, after, known.host_name)
    if not what:
        return {}
    decided = any(getattr(before, field) != getattr(after, field) for field in _DECIDED)
    # One that ends while it is wanted never had a host, or somebody wanted its run to end.
    decided = decided or (after.ended_at_s is not None and after.wanted is Wanted.RUN)
    cause_id = write.cause_id if decided else before.cause_id or write.cause_id
    _tell(write, after, known.run_name, what, cause_id)
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


@dataclass(frozen=True, slots=True)
class Observed:
    """What one report says of the replicas of a host; `actor`: who stands in the events of it."""

    host_id: str
    actor: str
    observations: tuple[Observation, ...]


async def observe(write: Write, host_id: str, observations: Iterable[Observation], now_s: float) -> int:
    """Write what one report says, where it differs; only for replicas that are on this host. Returns how many did."""
    return await observe_all(write, [Observed(host_id, write.actor, tuple(observations))], now_s)


async def observe_all(write: Write, reports: Sequence[Observed], now_s: float) -> int:
    """As `observe`, of several hosts, each once, in a few statements."""
    there: dict[str, dict[str, Replica]] = {}
    for some in chunks(report.host_id for report in reports if report.observations):
        for found in await _select(write.connection, replicas.c.host_id.in_(some), replicas.c.ended_at_s.is_(None)):
            there.setdefault(found.host_id or "", {})[found.id] = found
    rows: list[dict[str, Any]] = []
    told: list[tuple[str, Replica, str]] = []
    for report in reports:
        mine = there.get(report.host_id, {})  # a host speaks only for what it was given
        for observation in report.observations:
            known = mine.get(observation.replica_id)
            if known is None or (values := _news(known, observation, now_s)) is None:
                continue
            after = replace(known, **{**values, "log_tail": observation.log_tail})
            if what := happenings.of_replica(known, after, ""):
                if happenings.by_itself(known, after):
                    values["cause_id"] = events.new_cause()
                told.append((report.actor, replace(after, cause_id=values.get("cause_id") or known.cause_id), what))
            rows.append({WHICH: known.id, **values})
    await set_each(write, replicas, rows, _LEFT)
    if rows:
        write.touch("replicas")
    names = await _run_names(write.connection, {replica.run_id for _, replica, _ in told})
    actor = write.actor
    for write.actor, changed, what in told:
        _tell(write, changed, names[changed.run_id], what, changed.cause_id)
    write.actor = actor
    return len(rows)


def _news(replica: Replica, observation: Observation, now_s: float) -> dict[str, Any] | None:
    """What is written of an observation; None: nothing of it differs."""
    values = {field: getattr(observation, field) for field in _OBSERVED}
    if all(getattr(replica, field) == value for field, value in values.items()):
        return None
    if replica.refused:  # why outlives that it is cleared away: the next one is placed with it in mind
        values |= {"refused": True, "message": replica.message}
    values["log_tail"] = list(observation.log_tail)
    if observation.phase is Phase.READY and replica.first_ready_at_s is None:
        values["first_ready_at_s"] = now_s
    return values


async def _run_names(connection: AsyncConnection, run_ids: Iterable[str]) -> dict[str, str]:
    query = sa.select(runs.c.id, runs.c.name)
    found = [await connection.execute(query.where(runs.c.id.in_(some))) for some in chunks(run_ids)]
    return {row.id: row.name for rows in found for row in rows}


async def claim(write: Write, reservation: Reservation) -> bool:
    """Place a waiting replica with its claim, in this transaction. False when it is not waiting any more.

    The caller decided on a snapshot that it read in this same transaction, under the one writer's lock, so what it
    claims is still free (invariant 1).
    """
    return reservation.replica_id in await claim_all(write, [reservation])


async def claim_all(write: Write, wanted: Iterable[Reservation]) -> frozenset[str]:
    """As `claim`, of many in a few statements. The ids of the replicas that are placed."""
    asked = {reservation.replica_id: reservation for reservation in wanted}
    before = await _present(write, asked)
    placed = {
        replica_id: reservation
        for replica_id, reservation in asked.items()
        if replica_id in before
        and before[replica_id].replica.host_id is None
        and before[replica_id].replica.wanted is Wanted.RUN
    }
    if not placed:
        return frozenset()
    names: dict[str, str] = {}
    for some in chunks(it.host_id for it in placed.values()):
        query = sa.select(hosts.c.id, hosts.c.name).where(hosts.c.id.in_(some))
        names |= {row.id: row.name for row in await write.connection.execute(query)}
    rows, claims = [], []
    for replica_id, reservation in placed.items():
        known, gpu_uuids = before[replica_id], list(reservation.gpu_uuids)
        values = {"host_id": reservation.host_id, "gpu_uuids": gpu_uuids, "message": "assigned"}
        rows.append({WHICH: replica_id, **values})
        claims.append({**{it: getattr(reservation, it) for it in Reservation.__slots__}, "gpu_uuids": gpu_uuids})
        what = f"is placed on {names[reservation.host_id]}"
        _tell(write, known.replica, known.run_name, what, known.replica.cause_id)
        write.touch(f"host:{reservation.host_id}")
    await set_each(write, replicas, rows, _LEFT)
    await write.connection.execute(sa.insert(reservations), claims)
    write.touch("replicas", "hosts", "presence")
    return frozenset(placed)
