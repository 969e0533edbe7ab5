"""on-demand hosts: what their fleets say, and how the server reaches them

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("fleets", sa.Column("on_demand", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("fleets", sa.Column("idle_duration_s", Whole))
    op.add_column("fleets", sa.Column("power_off", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("fleets", sa.Column("server", Words, nullable=False, server_default=""))
    op.add_column("registrations", sa.Column("standby", sa.JSON()))
    op.add_column("registrations", sa.Column("access", sa.LargeBinary()))
