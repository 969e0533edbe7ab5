"""Runs and their revisions in the database, each change with its event. Secrets come and go sealed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.errors import Conflict
from homeport_control.domain.services import Revision, Run, RunState, RunWanted
from homeport_control.store import events
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.schema import replicas, revisions, runs

# A peak is written anew when it has grown by one of these.
PEAK_STEP_MIB = 64
PEAK_STEP_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class NewRevision:
    spec_json: str
    sealed_secrets: bytes
    user: str
    code_id: str = ""
    code_bytes: int = 0
    changed: tuple[str, ...] = ()  # names of the keys that differ from the revision before: "env.TOKEN"; never values


def _revision(row: sa.Row[Any]) -> Revision:
    values = row._mapping
    return Revision(
        run_id=values["run_id"],
        number=values["number"],
        spec_json=values["spec"],
        created_at_s=values["created_at_s"],
        user=values["user"],
        failed=values["failed"],
        code_id=values["code_id"],
        code_bytes=values["code_bytes"],
        gpu_memory_peak_mib=values["gpu_memory_peak_mib"],
    )


async def raise_peak(write: Write, host_id: str, replica_id: str, mib: int) -> None:
    """A replica that is on this host has held so much GPU memory. Small steps are not worth a write."""
    which = sa.select(replicas.c.run_id, replicas.c.revision).where(
        replicas.c.id == replica_id, replicas.c.host_id == host_id
    )
    row = (await write.connection.execute(which)).one_or_none()
    if row is None:
        return  # of another host, or none: a host speaks only for what it was given
    known = revisions.c.gpu_memory_peak_mib
    grew = sa.or_(known.is_(None), known + PEAK_STEP_MIB <= mib, known * (1 + PEAK_STEP_SHARE) <= mib)
    query = sa.update(revisions).where(revisions.c.run_id == row.run_id, revisions.c.number == row.revision, grew)
    if (await write.connection.execute(query.values(gpu_memory_peak_mib=mib))).rowcount:
        write.touch("runs")


async def _with_revisions(connection: AsyncConnection, rows: Iterable[sa.Row[Any]]) -> tuple[Run, ...]:
    found = list(rows)
    by_run: dict[str, list[Revision]] = {}
    for some in chunks(row.id for row in found):
        query = sa.select(revisions).where(revisions.c.run_id.in_(some)).order_by(revisions.c.number)
        for row in await connection.execute(query):
            by_run.setdefault(row.run_id, []).append(_revision(row))
    result = []
    for row in found:
        values = dict(row._mapping)
        values.update(
            wanted=RunWanted(values["wanted"]),
            state=RunState(values["state"]),
            log_tail=tuple(values["log_tail"]),
            revisions=tuple(by_run[row.id]),
        )
        result.append(Run(**values))
    return tuple(result)


async def list_active(connection: AsyncConnection) -> tuple[Run, ...]:
    """Runs that are not finished, oldest first."""
    query = sa.select(runs).where(runs.c.ended_at_s.is_(None)).order_by(runs.c.submitted_at_s, runs.c.id)
    return await _with_revisions(connection, await connection.execute(query))


async def list_unsettled(connection: AsyncConnection) -> tuple[Run, ...]:
    """Runs that are not finished, and finished ones of which a replica is left, oldest first."""
    left = sa.select(replicas.c.run_id).where(replicas.c.ended_at_s.is_(None))
    query = sa.select(runs).where(runs.c.ended_at_s.is_(None) | runs.c.id.in_(left))
    rows = await connection.execute(query.order_by(runs.c.submitted_at_s, runs.c.id))
    return await _with_revisions(connection, rows)


async def get(connection: AsyncConnection, run_id: str) -> Run:
    return (await _with_revisions(connection, await connection.execute(sa.select(runs).where(runs.c.id == run_id))))[0]


async def by_id(connection: AsyncConnection, run_ids: Iterable[str]) -> dict[str, Run]:
    """Those of these that there are."""
    found: dict[str, Run] = {}
    for some in chunks(run_ids):
        rows = await connection.execute(sa.select(runs).where(runs.c.id.in_(some)))
        found |= {run.id: run for run in await _with_revisions(connection, rows)}
    return found


async def list_shown(connection: AsyncConnection, names: Iterable[str], *, finished: bool) -> tuple[Run, ...]:
    """What `ps` shows, newest first: those that are not finished, with `finished` all; or of each name the newest."""
    wanted = list(names)
    query = sa.select(runs).order_by(runs.c.submitted_at_s.desc(), runs.c.id)
    if wanted:
        newest = sa.select(runs.c.name, sa.func.max(runs.c.submitted_at_s)).group_by(runs.c.name)
        query = query.where(
            runs.c.name.in_(wanted),
            sa.tuple_(runs.c.name, runs.c.submitted_at_s).in_(newest.where(runs.c.name.in_(wanted))),
        )
    elif not finished:
        query = query.where(runs.c.ended_at_s.is_(None))
    return await _with_revisions(connection, await connection.execute(query))


async def active_by_name(connection: AsyncConnection, name: str) -> Run | None:
    query = sa.select(runs).where(runs.c.name == name, runs.c.ended_at_s.is_(None))
    found = await _with_revisions(connection, await connection.execute(query))
    return found[0] if found else None


async def name_was_used(connection: AsyncConnection, name: str) -> bool:
    return (await connection.scalar(sa.select(runs.c.id).where(runs.c.name == name).limit(1))) is not None


async def insert(write: Write, run_id: str, name: str, user: str, revision: NewRevision, now_s: float) -> None:
    """A new run with its revision 1. Raises Conflict when a run of that name is active."""
    values = {
        "id": run_id,
        "name": name,
        "user": user,
        "wanted": RunWanted.RUN,
        "state": RunState.SUBMITTED,
        "reason": "submitted",
        "submitted_at_s": now_s,
        "ever_published": False,
        "log_tail": [],
        "cause_id": write.cause_id,
    }
    try:
        await write.connection.execute(sa.insert(runs).values(**values))
    except IntegrityError:
        raise Conflict(f"a run {name} is active already; run `homeport apply` again to see the plan anew") from None
    await add_revision(write, run_id, 1, revision, now_s)


async def add_revision(write: Write, run_id: str, number: int, revision: NewRevision, now_s: float) -> None:
    """Revisions are immutable: a second one of the same number is a Conflict."""
    try:
        await write.connection.execute(
            sa.insert(revisions).values(
                run_id=run_id,
                number=number,
                spec=revision.spec_json,
                secrets=revision.sealed_secrets,
                user=revision.user,
                created_at_s=now_s,
                failed="",
                code_id=revision.code_id,
                code_bytes=revision.code_bytes,
            )
        )
    except IntegrityError:
        raise Conflict("the run was changed by somebody else just now; run `homeport apply` again") from None
    query = sa.update(runs).where(runs.c.id == run_id).values(cause_id=write.cause_id).returning(runs.c.name)
    name = (await write.connection.execute(query)).scalar_one()
    keys = f" ({', '.join(revision.changed)} changed)" if revision.changed else ""
    _tell(write, run_id, name, f"{write.actor} applied revision {number} of {name}{keys}")
    write.touch("runs")


async def sealed_secrets(connection: AsyncConnection, run_id: str, number: int) -> bytes:
    query = sa.select(revisions.c.secrets).where(revisions.c.run_id == run_id, revisions.c.number == number)
    return bytes((await connection.execute(query)).scalar_one())


async def all_sealed(connection: AsyncConnection, which: Iterable[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
    """Of revisions, by run id and number."""
    wanted = set(which)
    found: dict[tuple[str, int], bytes] = {}
    for some in chunks(run_id for run_id, _ in wanted):
        query = sa.select(revisions.c.run_id, revisions.c.number, revisions.c.secrets)
        for run_id, number, secrets in await connection.execute(query.where(revisions.c.run_id.in_(some))):
            if (run_id, number) in wanted:
                found[run_id, number] = bytes(secrets)
    return found


async def give_up_revision(write: Write, run_id: str, number: int, because: str) -> None:
    query = sa.update(revisions).where(revisions.c.run_id == run_id, revisions.c.number == number)
    await write.connection.execute(query.values(failed=because))
    name = str(await write.connection.scalar(sa.select(runs.c.name).where(runs.c.id == run_id)))
    why = because.removeprefix(f"revision {number} was given up: ")
    _tell(write, run_id, name, f"revision {number} of {name} is given up: {why}")
    write.touch("runs")


async def scale(write: Write, run_id: str, to: int, sentence: str, proven: int | None = None) -> None:
    """Another number of replicas, by its load. What comes of it follows from this transaction's cause.

    proven: a revision that has worked; where no replica is left nothing else says so.
    """
    values = {"scaled_to": to, "cause_id": write.cause_id} | ({"proven_revision": proven} if proven else {})
    query = sa.update(runs).where(runs.c.id == run_id).values(**values)
    name = (await write.connection.execute(query.returning(runs.c.name))).scalar_one()
    _tell(write, run_id, name, f"{name} is scaled {sentence}")
    write.touch("runs")


async def roll_back(write: Write, run_id: str, number: int, to: int, user: str) -> None:
    """Mark the present revision as given up, so that `to`, the one before it, is wanted. The run's cause is this."""
    query = sa.update(revisions).where(revisions.c.run_id == run_id, revisions.c.number == number)
    await write.connection.execute(query.values(failed=f"revision {number} was rolled back by {user}"))
    changed = sa.update(runs).where(runs.c.id == run_id).values(cause_id=write.cause_id, log_tail=[])
    name = (await write.connection.execute(changed.returning(runs.c.name))).scalar_one()
    _tell(write, run_id, name, f"{write.actor} rolls {name} back from revision {number} to revision {to}")
    write.touch("runs")


async def update(write: Write, run_id: str, **changed: Any) -> None:
    """Set fields of a run; its topic is published. A wish (`wanted`) makes the transaction's cause the run's."""
    if {"state", "wanted"} & changed.keys():
        changed |= await _told(write, run_id, changed)
    if "log_tail" in changed:
        changed["log_tail"] = list(changed["log_tail"])
    await write.connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**changed))
    write.touch("runs")


async def _told(write: Write, run_id: str, changed: dict[str, Any]) -> dict[str, Any]:
    """Record what is about to change. Returns the fields that change with it."""
    query = sa.select(runs.c.name, runs.c.state, runs.c.wanted, runs.c.reason).where(runs.c.id == run_id)
    before = (await write.connection.execute(query)).one_or_none()
    if before is None:
        return {}
    wanted, state = changed.get("wanted", before.wanted), changed.get("state", before.state)
    if wanted != before.wanted:
        verb = {RunWanted.RUN: "wants", RunWanted.STOP: "stops", RunWanted.ABORT: "aborts"}[RunWanted(wanted)]
        _tell(write, run_id, before.name, f"{write.actor} {verb} {before.name}")
    if state != before.state:
        _tell(write, run_id, before.name, f"{before.name} is {state}: {changed.get('reason', before.reason)}")
    return {"cause_id": write.cause_id} if wanted != before.wanted else {}


def _tell(write: Write, run_id: str, name: str, sentence: str) -> None:
    events.record(write, kind="run", object_id=run_id, name=name, run_name=name, sentence=sentence)
