"""All rows of a table as values in memory, of which only those are read that have changed: loops and lists ask for thousands
at each turn, and few have changed since the last one.

    one statement ──▶ the rows whose version is not known yet, what it saw (versions.py), how many rows there are
                  ──▶ a state: what was known before, with these; when there are more than rows, without those that are gone

A state is what one statement saw, of one moment, and never changes. In a transaction that sees an earlier moment an earlier
state is gone on from; what a write has changed itself is in what it reads, and in nobody else's.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store import versions
from homeport_control.store.turns import Turns

T = TypeVar("T")
D = TypeVar("D")
STATES = 4  # of a table: transactions that see an earlier moment are short
SEEN = 4  # columns before those of the row
MIRRORS, IS_WRITING = "mirrors", "is_writing"  # execution options: of the engine, of a connection


class Marks(NamedTuple):
    """What a statement saw (versions.marks)."""

    epoch: Hashable
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class State(Generic[T]):
    marks: Marks
    by_id: Mapping[str, T]
    _derived: dict[Callable[[Mapping[str, T]], Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def derived(self, make: Callable[[Mapping[str, T]], D]) -> D:
        """What a function of a module makes of all of them: once for each state. Never changed by who gets it."""
        if make not in self._derived:
            self._derived[make] = make(self.by_id)
        return cast("D", self._derived[make])

    def leads_to(self, marks: Marks) -> bool:
        """Whether what is read there holds all that is known here."""
        return self.marks == marks or (self.marks.epoch == marks.epoch and self.marks.high <= marks.low)


@dataclass(slots=True)
class _Known:
    """Of one table of one database: newest first."""

    states: list[State[Any]] = field(default_factory=list)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # of a thousand who come at once one reads


class Mirrors:
    """Of one database; an execution option of its engines."""

    def __init__(self) -> None:
        self._known: dict[Mirror[Any], _Known] = {}

    def of(self, mirror: "Mirror[Any]") -> _Known:
        return self._known.setdefault(mirror, _Known())


class Mirror(Generic[T]):
    """Of a table, for all databases. `make` gets a row of the columns; `kept`: which rows are in it, by a condition that a row
    meets no more before it is deleted; without, all are."""

    def __init__(
        self,
        table: sa.Table,
        columns: tuple[sa.ColumnElement[Any], ...],
        make: Callable[[tuple[Any, ...]], T],
        key: sa.Column[str],
        kept: sa.ColumnElement[bool] | None = None,
    ) -> None:
        self._make = make
        self._ids = sa.select(key)
        there = sa.select(sa.func.count()).select_from(table).scalar_subquery() if kept is None else sa.literal(-1)
        is_kept = sa.true() if kept is None else sa.case((kept, sa.true()), else_=sa.false())
        since = table.c.version >= sa.bindparam("since", type_=table.c.version.type)
        self._changed, self._all = {}, {}
        for dialect in versions.DIALECTS:
            marks = versions.marks(dialect)
            seen = (marks.c.epoch, marks.c.low, marks.c.high, there.label("there"))
            query = sa.select(*seen, key.label("key"), is_kept.label("is_kept"), *columns)
            self._changed[dialect] = query.select_from(marks.outerjoin(table, since))
            self._all[dialect] = query.select_from(marks.outerjoin(table, sa.true() if kept is None else kept))

    async def read(self, connection: AsyncConnection) -> State[T]:
        """As the connection sees them now."""
        options = _options(connection)
        known: _Known = options[MIRRORS].of(self)
        if options.get(IS_WRITING):  # what it has changed itself may be rolled back
            return await self._read(connection, known.states)
        async with known.reading:
            state = await self._read(connection, known.states)
            if not known.states or state.marks != known.states[0].marks:
                newer = [it for it in (state, *known.states) if it.marks != state.marks or it is state]
                known.states[:] = sorted(newer, key=lambda it: it.marks.low, reverse=True)[:STATES]
        return state

    async def _read(self, connection: AsyncConnection, states: list[State[T]]) -> State[T]:
        for base in (*states, None):
            if (state := await self._since(connection, base)) is not None:
                return state
        raise AssertionError("all rows were read, and yet not")

    async def _since(self, connection: AsyncConnection, base: State[T] | None) -> State[T] | None:
        """None: it sees another moment than one after this."""
        dialect = connection.dialect.name
        if base is None:
            result = await connection.execute(self._all[dialect])
        else:
            result = await connection.execute(self._changed[dialect], {"since": base.marks.low})
        rows = result.all()
        epoch, low, high, there = rows[0][:SEEN]
        marks = Marks((versions.place_of(connection), epoch), low, high)
        if base is not None and not base.leads_to(marks):
            return None
        before = {} if base is None else base.by_id
        changed = [row for row in rows if row.key is not None]
        if base is not None and not changed and there in (-1, len(before)):
            return State(marks, before, base._derived)
        by_id = dict(before)
        turns = Turns()
        for row in changed:
            if row.is_kept:
                by_id[row.key] = self._make(tuple(row[SEEN + 2 :]))
            else:
                by_id.pop(row.key, None)
            await turns.give()
        if there not in (-1, len(by_id)):  # some are gone
            left = set((await connection.execute(self._ids)).scalars())
            by_id = {key: value for key, value in by_id.items() if key in left}
        return State(marks, by_id)


def _options(connection: AsyncConnection) -> Mapping[str, Any]:
    begun = cast("sa.Connection", connection.sync_connection)
    return begun.get_execution_options()
