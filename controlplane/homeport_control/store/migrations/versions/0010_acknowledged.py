"""acknowledged: what each gateway serves of each service

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Words

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "acknowledged",
        sa.Column("gateway", Words, primary_key=True),
        sa.Column("service", Words, primary_key=True),
        sa.Column("host_id", Words, nullable=False),
        sa.Column("version", Words, nullable=False),
    )
