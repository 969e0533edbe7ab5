"""Rows of which each gets values of its own, in a few statements."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from homeport_control.store.connect import Write

WHICH = "which"  # the key that says which row, by its id


async def set_each(
    write: Write, table: sa.Table, rows: Iterable[Mapping[str, Any]], *conditions: sa.ColumnElement[bool]
) -> None:
    """Each has the id under `WHICH`, and what is set there, where the conditions hold. One statement for those that set the
    same fields."""
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        alike.setdefault(tuple(row), []).append(row)
    for fields, some in alike.items():
        values = {field: sa.bindparam(field, type_=table.c[field].type) for field in fields if field != WHICH}
        query = sa.update(table).where(table.c.id == sa.bindparam(WHICH), *conditions).values(**values)
        await write.connection.execute(query, some)
