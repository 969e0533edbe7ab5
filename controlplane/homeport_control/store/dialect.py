"""The few things of SQL that SQLite and PostgreSQL say differently. Statements elsewhere in store/ are for both.

Covers column types, upserts and ids that grow. How each of the two is opened, begun and committed: sqlite.py, postgresql.py.
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


async def last_used_id(connection: AsyncConnection, table: sa.Table) -> int:
    """The greatest id that a table with growing ids has given out, of rows that are gone too; 0: none yet."""
    if connection.dialect.name == "sqlite":
        query = sa.text("SELECT max(seq) FROM sqlite_sequence WHERE name = :name")
        return int(await connection.scalar(query, {"name": table.name}) or 0)
    query = sa.text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table.name}_id_seq")  # noqa: S608
    return int(await connection.scalar(query) or 0)


async def go_on_after_id(connection: AsyncConnection, table: sa.Table, last_id: int) -> None:
    """The next id that the table gives out is greater than this one, which is not 0."""
    values = {"name": table.name, "last": last_id}
    if connection.dialect.name == "sqlite":
        await connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
        await connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values)
    else:
        await connection.execute(sa.select(sa.func.setval(f"{table.name}_id_seq", last_id)))


def _insert(connection: AsyncConnection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
