"""code of revisions, events with causes, users, named volumes"""

import sqlalchemy as sa
from alembic import op

from homeport_control.store.dialect import Whole, Words

revision = "0002"
down_revision = "0001"

_EMPTY = sa.text("''")


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", Whole, nullable=False),
        sa.Column("at_s", sa.Float(), nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("object_id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("run_name", Words, nullable=False),
        sa.Column("actor", Words, nullable=False),
        sa.Column("cause_id", Words, nullable=False),
        sa.Column("sentence", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events") as batch_op:
        for column in ("at_s", "name", "run_name", "cause_id"):
            batch_op.create_index(batch_op.f(f"ix_events_{column}"), [column], unique=False)
    op.create_table(
        "users",
        sa.Column("name", Words, nullable=False),
        sa.Column("role", Words, nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "volumes",
        sa.Column("name", Words, nullable=False),
        sa.Column("host_id", Words, nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"]),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("runs") as batch_op:
        batch_op.drop_column("decision")
        batch_op.add_column(sa.Column("cause_id", Words, nullable=False, server_default=_EMPTY))
    with op.batch_alter_table("revisions") as batch_op:
        batch_op.add_column(sa.Column("code_id", Words, nullable=False, server_default=_EMPTY))
        batch_op.add_column(sa.Column("code_bytes", Whole, nullable=False, server_default=sa.text("0")))
        batch_op.create_index(batch_op.f("ix_revisions_code_id"), ["code_id"], unique=False)
    with op.batch_alter_table("replicas") as batch_op:
        batch_op.add_column(sa.Column("cause_id", Words, nullable=False, server_default=_EMPTY))
    with op.batch_alter_table("hosts") as batch_op:
        batch_op.add_column(sa.Column("cause_id", Words, nullable=False, server_default=_EMPTY))
    with op.batch_alter_table("tokens") as batch_op:
        batch_op.add_column(sa.Column("user", Words, nullable=False, server_default=_EMPTY))
    # Until now a token was its own user. Of one name several may be there: the newest that is valid says the role.
    op.execute("UPDATE tokens SET \"user\" = name WHERE role IN ('admin', 'user')")
    op.execute(
        "INSERT INTO users (name, role, created_at_s) SELECT name, min(role), min(created_at_s) FROM tokens"
        " WHERE role IN ('admin', 'user') AND revoked_at_s IS NULL GROUP BY name"
    )
    op.execute(
        'UPDATE tokens SET "user" = (SELECT name FROM users ORDER BY role, created_at_s LIMIT 1)'
        " WHERE role = 'service' AND EXISTS (SELECT 1 FROM users)"
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")
