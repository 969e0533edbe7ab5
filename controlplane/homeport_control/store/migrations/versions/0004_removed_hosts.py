"""hosts that were removed, so that they are told when they come back"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Words

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "removed_hosts",
        sa.Column("id", Words, primary_key=True),
        sa.Column("name", Words, nullable=False),
        sa.Column("removed_at_s", sa.Float(), nullable=False),
    )
