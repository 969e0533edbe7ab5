"""HTTP/3 at gateways

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("gateways", sa.Column("http3", sa.Boolean(), nullable=False, server_default=sa.false()))
