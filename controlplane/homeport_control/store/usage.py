"""Totals of requests and tokens, by the hour and later by the day, and up to where each gateway's log is counted.

Covers adding a batch once, sums, and keeping the table bounded. A row says who called what in one span of time; hours become
days after HOURS_KEPT_S, days are forgotten after DAYS_KEPT_S.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.usage import Usage, UsageBatch, UsageKey
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.dialect import upsert
from homeport_control.store.schema import tokens, usage, usage_places

HOUR_S, DAY_S = 3600, 86400
HOURS_KEPT_S = 31 * DAY_S
DAYS_KEPT_S = 400 * DAY_S
_SUMS = (usage.c.requests, usage.c.prompt_tokens, usage.c.completion_tokens)


async def place_of(connection: AsyncConnection, host_id: str, gateway: str) -> str:
    """Up to where the log of this gateway on this host is counted; empty: nothing is."""
    is_this = (usage_places.c.host_id == host_id) & (usage_places.c.gateway == gateway)
    return (await connection.execute(sa.select(usage_places.c.place).where(is_this))).scalar_one_or_none() or ""


async def counted_on(connection: AsyncConnection, host_ids: Iterable[str]) -> dict[str, set[str]]:
    """By host id, of these: gateways of which it has a log, or had one when it was last heard; some may be none of its any
    more."""
    found: dict[str, set[str]] = {}
    for some in chunks(host_ids):
        query = sa.select(usage_places.c.host_id, usage_places.c.gateway).where(usage_places.c.place != "")
        for host_id, gateway in await connection.execute(query.where(usage_places.c.host_id.in_(some))):
            found.setdefault(host_id, set()).add(gateway)
    return found


async def add(write: Write, host_id: str, gateway: str, after: str, batch: UsageBatch, now_s: float) -> bool:
    """Add what came after this place. False: it was counted already, and nothing is added."""
    if await place_of(write.connection, host_id, gateway) != after:
        return False
    for key, counted in batch.counts:
        await _add(write, key, HOUR_S, counted)
    place = {"host_id": host_id, "gateway": gateway, "place": batch.place}
    missed = {"missed_at_s": now_s} if batch.missed else {}
    await upsert(write.connection, usage_places, place | missed)
    return True


async def missed_since(connection: AsyncConnection, since_s: float) -> float | None:
    """When last, after this time, a gateway's log had lost lines before they were counted."""
    query = sa.select(sa.func.max(usage_places.c.missed_at_s)).where(usage_places.c.missed_at_s >= since_s)
    found: float | None = (await connection.execute(query)).scalar_one()
    return found


async def totals(
    connection: AsyncConnection, since_s: float, by: Sequence[str], user: str | None = None
) -> list[tuple[UsageKey, Usage]]:
    """Sums since the hour of this time; `by`: names of UsageKey's fields but `from_s`, or `hour`, `day`.

    With `user` of that user's tokens only.
    """
    columns = {
        "token_id": usage.c.token_id,
        "service": usage.c.service,
        "model": usage.c.model,
        "user": sa.func.coalesce(tokens.c.user, ""),
        "hour": usage.c.from_s,
        "day": usage.c.from_s - usage.c.from_s % DAY_S,
    }
    chosen = [columns[name].label("from_s" if name in ("hour", "day") else name) for name in by]
    query = (
        sa.select(*chosen, *(sa.func.sum(column).label(column.name) for column in _SUMS))
        .select_from(usage.outerjoin(tokens, tokens.c.id == usage.c.token_id))
        .where(usage.c.from_s > since_s - HOUR_S)
    )
    if chosen:
        query = query.group_by(*(columns[name] for name in by))
    if user is not None:
        query = query.where(tokens.c.user == user)
    found = []
    for row in await connection.execute(query):
        values = dict(row._mapping)
        sums = Usage(*(int(values.pop(column.name) or 0) for column in _SUMS))
        if sums.requests:
            found.append((UsageKey(**values), sums))
    return found


async def compact(write: Write, now_s: float, most: int) -> int:
    """Make days of old hours and forget old days, at most so many rows; how many it was."""
    old_day = usage.c.from_s < now_s - DAYS_KEPT_S
    oldest = sa.select(*usage.primary_key).where(old_day).limit(most)
    gone = await write.connection.execute(sa.delete(usage).where(sa.tuple_(*usage.primary_key).in_(oldest)))
    done = int(gone.rowcount)
    before_s = (now_s - HOURS_KEPT_S) // DAY_S * DAY_S  # whole days only
    is_old_hour = (usage.c.span_s == HOUR_S) & (usage.c.from_s < before_s)
    rows = (await write.connection.execute(sa.select(usage).where(is_old_hour).limit(max(0, most - done)))).all()
    for row in rows:
        key = UsageKey(row.from_s - row.from_s % DAY_S, row.token_id, row.service, row.model)
        await _add(write, key, DAY_S, Usage(row.requests, row.prompt_tokens, row.completion_tokens))
        is_this = (usage.c.from_s == row.from_s) & (usage.c.span_s == HOUR_S) & (usage.c.token_id == row.token_id)
        is_this &= (usage.c.service == row.service) & (usage.c.model == row.model)
        await write.connection.execute(sa.delete(usage).where(is_this))
    return done + len(rows)


async def _add(write: Write, key: UsageKey, span_s: int, counted: Usage) -> None:
    values = {
        "from_s": key.from_s,
        "span_s": span_s,
        "token_id": key.token_id,
        "service": key.service,
        "model": key.model,
        "requests": counted.requests,
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.completion_tokens,
    }
    await upsert(write.connection, usage, values, add=_SUMS)
