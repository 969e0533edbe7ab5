"""usage: totals of requests and tokens

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("from_s", sa.Integer(), primary_key=True),
        sa.Column("span_s", sa.Integer(), primary_key=True),
        sa.Column("token_id", sa.Text(), primary_key=True),
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
    )
    op.create_table(
        "usage_places",
        sa.Column("host_id", sa.Text(), primary_key=True),
        sa.Column("gateway", sa.Text(), primary_key=True),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("missed_at_s", sa.Float()),
    )
