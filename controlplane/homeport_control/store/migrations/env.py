"""Alembic's entry: online only, on the file or the connection that store/connect.py gives."""

import sqlalchemy as sa
from alembic import context

from homeport_control.store.schema import metadata

attributes = context.config.attributes


def migrate(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
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
    with engine.connect() as connection:
        migrate(connection)
