"""Which of several servers leads, and the code that they share

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
    op.create_table(
        "code_manifests",
        sa.Column("code_id", Words, primary_key=True),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("contents", sa.JSON, nullable=False),
    )
    op.create_table(
        "code_contents",
        sa.Column("sha256", Words, primary_key=True),
        sa.Column("number", Whole, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("last", sa.Boolean, nullable=False),
    )
