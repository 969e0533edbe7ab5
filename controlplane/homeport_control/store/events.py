"""Events in the database: recorded in the transaction of the change that they tell, read by filters, pruned by age.

`record` only puts an event beside the transaction's other work; Database.write writes all of them in one statement before
it commits, so that a change and its event are both there or neither is.
"""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.events import Event
from homeport_control.store.connect import Write
from homeport_control.store.schema import events

MAX_SENTENCE = 500  # characters; messages of engines and registries can be long
PAGE = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty fields match all. `name` is an object's, or a run's of which replicas are then told too."""

    kind: str = ""
    name: str = ""
    cause_id: str = ""
    since_s: float = 0.0  # unix time

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        found: list[sa.ColumnElement[bool]] = []
        if self.kind == "run" and self.name:  # the whole story of a run
            found.append(events.c.run_name == self.name)
        else:
            if self.kind:
                found.append(events.c.kind == self.kind)
            if self.name:
                found.append((events.c.name == self.name) | (events.c.run_name == self.name))
        if self.cause_id:
            found.append(events.c.cause_id == self.cause_id)
        if self.since_s:
            found.append(events.c.at_s >= self.since_s)
        return found


def new_cause() -> str:
    return uuid.uuid4().hex[:12]


def record(
    write: Write, *, kind: str, object_id: str, name: str, sentence: str, run_name: str = "", cause_id: str = ""
) -> None:
    """Tell what this transaction changes. Actor and, without `cause_id`, cause are the transaction's own."""
    line = "".join(letter if letter.isprintable() else " " for letter in sentence)
    if len(line) > MAX_SENTENCE:
        line = f"{line[: MAX_SENTENCE - 1]}…"
    write.events.append(
        {
            "at_s": time.time(),
            "kind": kind,
            "object_id": object_id,
            "name": name,
            "run_name": run_name,
            "actor": write.actor,
            "cause_id": cause_id or write.cause_id,
            "sentence": line,
        }
    )
    write.touch("events")


async def last_id(connection: AsyncConnection) -> int:
    """Of the newest event; 0 when there is none."""
    return int(await connection.scalar(sa.select(sa.func.max(events.c.id))) or 0)


async def newest(
    connection: AsyncConnection, which: Filter, limit: int, *, after_id: int = 0, up_to_id: int | None = None
) -> tuple[Event, ...]:
    """The newest `limit` of what matches, oldest first."""
    query = sa.select(events).where(*which.conditions(), *_between(after_id, up_to_id))
    rows = (await connection.execute(query.order_by(events.c.id.desc()).limit(limit))).all()
    return tuple(_event(row) for row in reversed(rows))


async def later(
    connection: AsyncConnection, which: Filter, after_id: int, up_to_id: int, limit: int = PAGE
) -> tuple[Event, ...]:
    """The oldest `limit` of what matches after one event, up to another."""
    query = sa.select(events).where(*which.conditions(), *_between(after_id, up_to_id))
    return tuple(_event(row) for row in await connection.execute(query.order_by(events.c.id).limit(limit)))


async def prune(write: Write, older_than_s: float, limit: int) -> int:
    """Delete up to `limit` events of before then, oldest first. Returns how many it were."""
    old = sa.select(events.c.id).where(events.c.at_s < older_than_s).order_by(events.c.at_s).limit(limit)
    return (await write.connection.execute(sa.delete(events).where(events.c.id.in_(old)))).rowcount


def _between(after_id: int, up_to_id: int | None) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [events.c.id > after_id] if after_id else []
    if up_to_id is not None:
        found.append(events.c.id <= up_to_id)
    return found


def _event(row: sa.Row[Any]) -> Event:
    return Event(**row._mapping)
