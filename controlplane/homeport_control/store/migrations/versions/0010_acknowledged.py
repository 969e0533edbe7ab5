"""acknowledged: what each gateway serves of each service

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "acknowledged",
        sa.Column("gateway", sa.Text(), primary_key=True),
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
    )
