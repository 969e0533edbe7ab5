"""HTTP/3 at gateways

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("gateways", sa.Column("http3", sa.Boolean(), nullable=False, server_default=sa.false()))
