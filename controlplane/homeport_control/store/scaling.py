"""What scaling looks at each second, of all runs in two queries that read no configuration: replicas come counted.

The configurations are read once for each revision (`specs`). What is written stands in store/runs.py.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.domain.scaling import Alike, ScaledRun
from homeport_control.domain.services import RunWanted
from homeport_control.store.chunks import chunks
from homeport_control.store.schema import replicas, revisions, runs

_good = (
    sa.select(revisions.c.run_id, sa.func.max(revisions.c.number).label("number"))
    .where(revisions.c.failed == "")
    .group_by(revisions.c.run_id)
    .subquery()
)
_wanted = (
    sa.select(runs.c.id, runs.c.name, _good.c.number, runs.c.scaled_to, runs.c.proven_revision, runs.c.cause_id)
    .join(_good, _good.c.run_id == runs.c.id)
    .where(runs.c.ended_at_s.is_(None), runs.c.wanted == RunWanted.RUN)
    .order_by(runs.c.id)
)
_alike = (
    replicas.c.run_id,
    replicas.c.revision,
    replicas.c.phase,
    replicas.c.in_rotation,
    replicas.c.lost,
    replicas.c.host_id.is_not(None).label("has_host"),
    replicas.c.first_ready_at_s.is_not(None).label("was_ready"),
)
_counted = (
    sa.select(
        *_alike,
        sa.func.count().label("number"),
        sa.func.max(sa.case((replicas.c.host_id.is_(None), replicas.c.message), else_="")).label("message"),
    )
    .where(replicas.c.ended_at_s.is_(None), replicas.c.wanted == Wanted.RUN)
    .group_by(*_alike)
)


@lru_cache(maxsize=4096)  # most runs are alike, at each turn
def _kept(revision: int, phase: str, *rest: Any) -> Alike:
    return Alike(revision, Phase(phase), *rest)


async def list_wanted(connection: AsyncConnection, run_ids: Collection[str] | None = None) -> tuple[ScaledRun, ...]:
    """All runs that are wanted and have a revision that was not given up; or of these (chunks.LONGEST at most)."""
    which, counted = _wanted, _counted
    if run_ids is not None:
        which, counted = which.where(runs.c.id.in_(run_ids)), counted.where(replicas.c.run_id.in_(run_ids))
    found = (await connection.execute(which)).all()
    by_run: dict[str, list[Alike]] = {}
    for its_run, revision, phase, *rest in (await connection.execute(counted)).all() if found else ():
        by_run.setdefault(its_run, []).append(_kept(revision, phase, *rest))
    return tuple(ScaledRun(*row, replicas=tuple(by_run.get(row.id, ()))) for row in found)


async def specs(connection: AsyncConnection, which: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The configurations of revisions, by run id and number."""
    found: dict[tuple[str, int], str] = {}
    wanted = set(which)
    for some in chunks(sorted({run_id for run_id, _ in wanted})):
        query = sa.select(revisions.c.run_id, revisions.c.number, revisions.c.spec).where(revisions.c.run_id.in_(some))
        for run_id, number, text in await connection.execute(query):
            if (run_id, number) in wanted:
                found[run_id, number] = text
    return found
