"""health, cordoned GPUs and labels of hosts; refused replicas; peak GPU memory of revisions"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole

revision = "0003"
down_revision = "0002"

_NOTHING = sa.text("'[]'")


def upgrade() -> None:
    with op.batch_alter_table("hosts") as batch_op:
        for column in ("findings", "cordoned_gpus", "labels"):
            batch_op.add_column(sa.Column(column, sa.JSON(), nullable=False, server_default=_NOTHING))
    with op.batch_alter_table("replicas") as batch_op:
        batch_op.add_column(sa.Column("refused", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("revisions") as batch_op:
        batch_op.add_column(sa.Column("gpu_memory_peak_mib", Whole))
