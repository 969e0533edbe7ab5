"""fleets, the machines that are registered for them, and builds of agents

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("build", Words, nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("upgrade_error", Words, nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("serials", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "fleets",
        sa.Column("name", Words, primary_key=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("region", Words, nullable=False),
    )
    op.create_table(
        "registrations",
        sa.Column("fleet", Words, primary_key=True),
        sa.Column("hostname", Words, primary_key=True),
        sa.Column("port", Whole, primary_key=True),
        sa.Column("place", sa.JSON(), nullable=False),
        sa.Column("step", Words, nullable=False),
        sa.Column("since_s", sa.Float(), nullable=False),
        sa.Column("error", Words, nullable=False),
        sa.Column("host_id", Words, nullable=False),
    )
