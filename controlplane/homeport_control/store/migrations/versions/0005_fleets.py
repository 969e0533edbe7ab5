"""fleets, the machines that are registered for them, and builds of agents

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("build", sa.Text(), nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("upgrade_error", sa.Text(), nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("serials", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "fleets",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
    )
    op.create_table(
        "registrations",
        sa.Column("fleet", sa.Text(), primary_key=True),
        sa.Column("hostname", sa.Text(), primary_key=True),
        sa.Column("port", sa.Integer(), primary_key=True),
        sa.Column("place", sa.JSON(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("since_s", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
    )
