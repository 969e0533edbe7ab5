"""gateways: what was a role in the row of a host

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "gateways",
        sa.Column("name", Words, primary_key=True),
        sa.Column("domain", Words, nullable=False),
        sa.Column("old_domain", Words, nullable=False),
        sa.Column("wanted_host", Words, nullable=False),
        sa.Column("host_id", Words, nullable=False),
        sa.Column("listen_address", Words, nullable=False),
        sa.Column("http_port", Whole, nullable=False),
        sa.Column("https_port", Whole, nullable=False),
        sa.Column("certificate", sa.JSON(), nullable=False),
        sa.Column("default", sa.Boolean(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("message", Words, nullable=False),
        sa.Column("trusted_addresses", sa.JSON(), nullable=False),
        sa.Column("refused", Words, nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
    )
    op.create_table(
        "certificates",
        sa.Column("gateway", Words, primary_key=True),
        sa.Column("name", Words, primary_key=True),
        sa.Column("source", Words, nullable=False),
        sa.Column("chain_pem", Words, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("not_before_s", sa.Float(), nullable=False),
        sa.Column("not_after_s", sa.Float(), nullable=False),
        sa.Column("problem", Words, nullable=False),
        sa.Column("failures", Whole, nullable=False),
        sa.Column("next_try_s", sa.Float(), nullable=False),
    )
    op.create_index("ix_gateways_host_id", "gateways", ["host_id"])
    # Where it listens and its domain are the server's settings: they are written at each of its starts.
    op.execute(
        "INSERT INTO gateways (name, domain, old_domain, wanted_host, host_id, listen_address, http_port, https_port, "
        'certificate, "default", applied, ready, message, trusted_addresses, refused, created_at_s) '
        "SELECT gateway, 'localhost', '', 'local', id, '127.0.0.1', 7480, 0, '{}', TRUE, FALSE, gateway_ready, "
        "gateway_message, '[]', '', created_at_s FROM hosts WHERE gateway != '' ORDER BY created_at_s LIMIT 1"
    )
    for column in ("gateway", "gateway_ready", "gateway_message"):
        op.drop_column("hosts", column)
