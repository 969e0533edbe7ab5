"""usage: totals of requests and tokens

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("from_s", Whole, primary_key=True),
        sa.Column("span_s", Whole, primary_key=True),
        sa.Column("token_id", Words, primary_key=True),
        sa.Column("service", Words, primary_key=True),
        sa.Column("model", Words, primary_key=True),
        sa.Column("requests", Whole, nullable=False),
        sa.Column("prompt_tokens", Whole, nullable=False),
        sa.Column("completion_tokens", Whole, nullable=False),
    )
    op.create_table(
        "usage_places",
        sa.Column("host_id", Words, primary_key=True),
        sa.Column("gateway", Words, primary_key=True),
        sa.Column("place", Words, nullable=False),
        sa.Column("missed_at_s", sa.Float()),
    )
