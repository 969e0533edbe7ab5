"""How many replicas a run has by its load

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("runs", sa.Column("scaled_to", Whole))
    op.add_column("runs", sa.Column("proven_revision", Whole))
