"""Indexes of the replicas of which something is left, and of those that have ended

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

LEFT, ENDED = sa.text("ended_at_s IS NULL"), sa.text("ended_at_s IS NOT NULL")


def upgrade() -> None:
    for name, columns, where in (
        ("replicas_left", ["id"], LEFT),
        ("replicas_left_by_run", ["run_id", "id"], LEFT),
        ("replicas_left_by_host", ["host_id", "id"], LEFT),
        ("replicas_ended", ["ended_at_s"], ENDED),
    ):
        op.create_index(name, "replicas", columns, sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_replicas_ended_at_s", "replicas")
