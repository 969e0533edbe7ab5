"""Which of several servers leads

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "leadership",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("term", Whole, nullable=False),
        sa.Column("server", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("address", Words, nullable=False),
        sa.Column("since_s", sa.Float, nullable=False),
        sa.Column("renewed_at_s", sa.Float, nullable=False),
    )
