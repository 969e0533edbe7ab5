"""All rows of one database into another, empty one, SQLite or PostgreSQL alike: `server move`, backup and restore.

Covers what may be copied into, the rows, the ids that go on, and the proof that all came. Everything goes into the one
transaction of the caller's `write`: a copy that breaks off leaves nothing.
"""

import asyncio
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.errors import Conflict
from homeport_control.store.connect import Write, newest_schema
from homeport_control.store.dialect import go_on_after_id, last_used_id
from homeport_control.store.place import Place, shown
from homeport_control.store.schema import events, metadata

ROWS = 500  # read and written in one go


async def schema_of(connection: AsyncConnection) -> str | None:
    """The version of the schema; None: there is no table at all. Raises Conflict when the tables are not Homeport's."""
    tables = set(await connection.run_sync(lambda it: sa.inspect(it).get_table_names()))
    if "alembic_version" not in tables:
        if tables:
            raise Conflict(
                f"the database has tables that are not Homeport's, {min(tables)} is one; give it one of its own"
            )
        return None
    version: str | None = await connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


async def must_be_newest(connection: AsyncConnection, place: Place) -> None:
    """Raises Conflict for a database of another version."""
    version, newest = await schema_of(connection), newest_schema()
    if version != newest:
        raise Conflict(
            f"{shown(place)} has the schema {version or 'of nothing'}, this version of Homeport has {newest}; "
            "start the server of this version on it once, then stop it"
        )


async def must_be_empty(connection: AsyncConnection, place: Place) -> None:
    """Raises Conflict, naming what is in it."""
    there = {name: count for name, count in (await counts(connection)).items() if count}
    if there:
        what = ", ".join(f"{count} {name}" for name, count in there.items())
        raise Conflict(f"{shown(place)} is not empty ({what}); nothing was changed, give a new database")


async def must_be_alone(connection: AsyncConnection, place: Place) -> None:
    """Raises Conflict when a server, here or elsewhere, has this PostgreSQL database open."""
    if connection.dialect.name != "postgresql":
        return  # the lock in the state directory says it
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'homeport %' AND pid <> pg_backend_pid()"
    )
    for pause_s in (0.05, 0.2, 0.5, 1.0, 0.0):  # one that was closed a moment ago is still there
        await connection.execute(sa.select(sa.func.pg_stat_clear_snapshot()))
        count = await connection.scalar(sa.text(others))
        if not count:
            return
        await asyncio.sleep(pause_s)
    raise Conflict(f"{shown(place)} is in use by a server ({count} connections); stop all servers first")


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """Rows by table, in the order in which they can be written."""
    found = {}
    for table in metadata.sorted_tables:
        found[table.name] = int(await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
    return found


async def clear(write: Write) -> None:
    """Delete all rows."""
    for table in reversed(metadata.sorted_tables):
        await write.connection.execute(sa.delete(table))


async def copy(source: AsyncConnection, write: Write) -> Mapping[str, int]:
    """Copy a snapshot; returns rows by table, as they were counted on both sides. Raises Conflict when these differ."""
    for table in metadata.sorted_tables:
        query = sa.select(table).order_by(*table.primary_key)
        async with source.stream(query) as rows:
            async for some in rows.partitions(ROWS):
                await write.connection.execute(sa.insert(table), [dict(row._mapping) for row in some])
    if last := await last_used_id(source, events):
        await go_on_after_id(write.connection, events, last)
    before, after = await counts(source), await counts(write.connection)
    if before != after:
        wrong = next(name for name in before if before[name] != after[name])
        raise Conflict(
            f"{after[wrong]} of {before[wrong]} rows of {wrong} were copied; nothing was changed, report this"
        )
    return after
