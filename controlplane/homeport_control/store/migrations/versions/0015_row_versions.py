"""Which rows have changed since: hosts, replicas and reservations have a version that the database itself gives them

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole
from homeport_control.store.versions import install

revision = "0015"
down_revision = "0014"

# A change of these gives another version. Not of those of hosts by which late messages of a session are known: they change
# with each message, and no value has them.
COLUMNS = {
    "hosts": (
        "id", "name", "fleet", "region", "backend", "address", "cordoned", "facts", "created_at_s", "connection",
        "connection_reason", "connection_since_s", "cause_id", "findings", "cordoned_gpus", "labels", "build",
        "upgrade_error", "serials", "door",
    ),
    "replicas": (
        "id", "run_id", "index", "revision", "wanted", "created_at_s", "host_id", "phase", "message", "host_port",
        "restarts", "exit_code", "pulled_bytes", "pull_total_bytes", "probes_passed", "probes_total", "log_tail",
        "first_ready_at_s", "in_rotation", "drain_started_at_s", "drained_at_s", "stop_grace_s", "lost", "ended_at_s",
        "gpu_uuids", "cause_id", "refused",
    ),
    "reservations": (
        "replica_id", "host_id", "gpu_uuids", "exclusive", "gpu_memory_mib", "cpus", "memory_mib", "run_name", "revision",
    ),
}  # fmt: skip


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        op.add_column(table, sa.Column("version", Whole, nullable=False, server_default="0"))
        op.create_index(f"ix_{table}_version", table, ["version"])
        install(op.get_bind(), table, columns)
