"""Alembic's entry: online only, on the URL that store/connect.py sets."""

import sqlalchemy as sa
from alembic import context

from homeport_control.store.schema import metadata

engine = sa.create_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=sa.pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
