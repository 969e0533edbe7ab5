"""The few things of SQL that SQLite and PostgreSQL say differently. Statements elsewhere in store/ are for both.

Covers column types and upserts. How each of the two is opened, begun and committed: sqlite.py, postgresql.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

# SQLite's INTEGER has 64 bits, PostgreSQL's has 32: bytes and tokens need more.
Whole = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
# By bytes, as SQLite and Python sort: the order of names decides ties, and must not hang on a database's language.
Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


async def upsert(
    connection: AsyncConnection, table: sa.Table, values: Mapping[str, Any], add: Sequence[sa.Column[Any]] = ()
) -> None:
    """Insert a row, or set its columns where one with its primary key stands; those of `add` are added to what stands."""
    statement = _insert(connection, table).values(dict(values))
    sums = {column.name: column + statement.excluded[column.name] for column in add}
    keys = [column.name for column in table.primary_key]
    changed = {name: value for name, value in values.items() if name not in keys} | sums
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


async def insert_new(connection: AsyncConnection, table: sa.Table, values: Mapping[str, Any]) -> None:
    """Insert a row; where one with its key stands, nothing happens."""
    await connection.execute(_insert(connection, table).values(dict(values)).on_conflict_do_nothing())


def _insert(connection: AsyncConnection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
