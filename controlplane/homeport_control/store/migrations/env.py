"""Alembic's entry: online only, on the file or the connection that store/connect.py gives."""

import sqlite3

import sqlalchemy as sa
from alembic import context

from homeport_control.store.schema import metadata

attributes = context.config.attributes


def migrate(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


if "connection" in attributes:
    migrate(attributes["connection"])
else:
    engine = sa.create_engine(
        f"sqlite:///{attributes['file']}",
        poolclass=sa.pool.NullPool,
        connect_args={"timeout": attributes["busy_timeout_s"]},
    )

    # All of it or nothing, whatever ends it half-way: sqlite3 itself would commit before each change of a table.
    @sa.event.listens_for(engine, "connect")
    def say_begin_ourselves(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.connect() as connection:
        migrate(connection)
