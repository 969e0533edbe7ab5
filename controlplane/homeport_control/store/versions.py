"""Versions of rows, given by the database itself at each change of what is made a value of, whoever writes: mirror.py reads
what has one that it has not seen.

A row gets, with each change, a version above that of all changes before: with SQLite the next number, with PostgreSQL the
transaction's. Both grow in the order in which changes become visible, for there is one writer at a time.
A row that is deleted has none any more, but there is another number after it.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store.same_file import WHICH_FILE

SEQUENCE = "row_versions"  # in SQLite's own table of growing numbers

_NEXT = f"UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = '{SEQUENCE}';"  # noqa: S608
_SQLITE = """
CREATE TRIGGER {table}_{event} AFTER {when} ON {table} BEGIN
    {next}
    UPDATE {table} SET version = (SELECT seq FROM sqlite_sequence WHERE name = '{sequence}') WHERE rowid = NEW.rowid;
END
"""
_SQLITE_DELETED = """
CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} BEGIN
    {next}
END
"""
_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION homeport_row_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END
$$
"""
_POSTGRESQL = """
CREATE TRIGGER {table}_{event} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION homeport_row_version()
"""


def install(connection: sa.Connection, table: str, columns: tuple[str, ...]) -> None:
    """For migrations. Idempotent but for the triggers, which must not be there."""
    if connection.dialect.name == "sqlite":
        there = connection.exec_driver_sql(f"SELECT 1 FROM sqlite_sequence WHERE name = '{SEQUENCE}'").first()  # noqa: S608
        if there is None:
            connection.exec_driver_sql(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{SEQUENCE}', 0)")  # noqa: S608
        connection.exec_driver_sql(_SQLITE_DELETED.format(table=table, next=_NEXT))
        template = _SQLITE
    else:
        connection.exec_driver_sql(_POSTGRESQL_FUNCTION)
        template = _POSTGRESQL
    named = ", ".join(f'"{column}"' for column in columns)
    for event, when in (("inserted", "INSERT"), ("updated", f"UPDATE OF {named}")):
        connection.exec_driver_sql(template.format(table=table, event=event, when=when, sequence=SEQUENCE, next=_NEXT))


# What a statement that reads rows sees: all changes with a version below `low`, and none with one from `high` on. Both are the
# same, but on PostgreSQL while somebody writes. `epoch`: of which database: after another one has taken its place, nothing that
# is known of the first counts.
_SEEN = f"(SELECT seq + 1 FROM sqlite_sequence WHERE name = '{SEQUENCE}')"  # noqa: S608
_MARKS = {
    "sqlite": {"epoch": "0", "low": _SEEN, "high": _SEEN},
    "postgresql": {
        "epoch": "extract(epoch FROM pg_postmaster_start_time())::float8",
        "low": "pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
        "high": "pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    },
}
DIALECTS = tuple(_MARKS)


def marks(dialect: str) -> sa.Subquery:
    """`epoch`, `low` and `high`, as one row."""
    return sa.select(*(sa.literal_column(sql).label(name) for name, sql in _MARKS[dialect].items())).subquery("marks")


def place_of(connection: AsyncConnection) -> object:
    """Which file this is, of SQLite (same_file.py)."""
    return connection.sync_connection.info.get(WHICH_FILE) if connection.sync_connection else None
