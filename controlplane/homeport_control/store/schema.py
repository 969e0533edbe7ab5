"""The tables. Their history is in migrations/; a test holds the two together."""

import sqlalchemy as sa

from homeport_control.store.dialect import Whole, Words

metadata = sa.MetaData()


def _version() -> sa.Column[int]:
    """Of a row: the database sets it at each change (versions.py); nobody else does."""
    return sa.Column("version", Whole, nullable=False, server_default="0", index=True)


meta = sa.Table("meta", metadata, sa.Column("key", Words, primary_key=True), sa.Column("value", Words, nullable=False))

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("sha256", Words, nullable=False, unique=True),
    sa.Column("role", Words, nullable=False),  # admin, user, service, metrics, join
    sa.Column("services", sa.JSON, nullable=False),  # role service: run names; empty: all
    sa.Column("fleet", Words, nullable=False),  # role join
    sa.Column("one_use", sa.Boolean, nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
    sa.Column("expires_at_s", sa.Float),
    sa.Column("revoked_at_s", sa.Float),  # for a join token of one use: when it was used
    sa.Column("user", Words, nullable=False),  # whose it is; empty: a join token
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("role", Words, nullable=False),  # admin, user
    sa.Column("created_at_s", sa.Float, nullable=False),
)

# What changed, who did it and what it followed from: the audit log. Kept 30 days.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Whole, primary_key=True, autoincrement=True),
    sa.Column("at_s", sa.Float, nullable=False, index=True),
    sa.Column("kind", Words, nullable=False),  # run, replica, host, gateway, token, user, server
    sa.Column("object_id", Words, nullable=False),
    sa.Column("name", Words, nullable=False, index=True),
    sa.Column("run_name", Words, nullable=False, index=True),  # of a run and its replicas; else empty
    sa.Column("actor", Words, nullable=False),  # "user ann", "host gpu-1", "server"
    sa.Column("cause_id", Words, nullable=False, index=True),
    sa.Column("sentence", Words, nullable=False),
    sqlite_autoincrement=True,  # an id is never used again: readers go on after the last one they saw
)

# Named volumes and the host that has each: a replica with one runs nowhere else.
volumes = sa.Table(
    "volumes",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("host_id", Words, sa.ForeignKey("hosts.id"), nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
)

# Hosts that an admin removed: they are told so when they come back. One that is in neither table is refused and goes on.
removed_hosts = sa.Table(
    "removed_hosts",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("removed_at_s", sa.Float, nullable=False),
)

fleets = sa.Table(
    "fleets",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("labels", sa.JSON, nullable=False),  # [[key, value], …]: each host of it has them
    sa.Column("region", Words, nullable=False),
    sa.Column("on_demand", sa.Boolean, nullable=False),
    sa.Column("idle_duration_s", Whole),  # null: for ever
    sa.Column("power_off", sa.Boolean, nullable=False),
    sa.Column("server", Words, nullable=False),  # HOST:PORT, as on-demand hosts reach it
)

registrations = sa.Table(  # machines that are to be hosts of a fleet
    "registrations",
    metadata,
    sa.Column("fleet", Words, primary_key=True),
    sa.Column("hostname", Words, primary_key=True),
    sa.Column("port", Whole, primary_key=True),
    sa.Column("place", sa.JSON, nullable=False),
    sa.Column("step", Words, nullable=False),
    sa.Column("since_s", sa.Float, nullable=False),
    sa.Column("error", Words, nullable=False),
    sa.Column("host_id", Words, nullable=False),
    sa.Column("standby", sa.JSON(none_as_null=True)),  # of an on-demand machine
    sa.Column("access", sa.LargeBinary),  # sealed: how the server reaches it by SSH
)

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False, unique=True),
    sa.Column("fleet", Words, nullable=False),
    sa.Column("region", Words, nullable=False),
    sa.Column("backend", Words, nullable=False),
    sa.Column("address", Words, nullable=False),
    sa.Column("cordoned", sa.Boolean, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
    sa.Column("connection", Words, nullable=False),
    sa.Column("connection_reason", Words, nullable=False),
    sa.Column("connection_since_s", sa.Float, nullable=False),
    sa.Column("boot_id", Words, nullable=False),
    sa.Column("sequence", Whole, nullable=False),
    sa.Column("generation", Whole, nullable=False),  # of the last assignment that was sent
    sa.Column("cause_id", Words, nullable=False),  # of the last change of its connection
    sa.Column("findings", sa.JSON, nullable=False),  # what its agent found wrong with it and its GPUs
    sa.Column("cordoned_gpus", sa.JSON, nullable=False),  # UUIDs
    sa.Column("labels", sa.JSON, nullable=False),  # pairs
    sa.Column("build", Words, nullable=False),
    sa.Column("upgrade_error", Words, nullable=False),
    sa.Column("serials", sa.JSON, nullable=False),
    sa.Column("door", sa.JSON(none_as_null=True)),  # the way in for gateways of other hosts; null: none was asked for
    _version(),
)

gateways = sa.Table(
    "gateways",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("domain", Words, nullable=False),
    sa.Column("old_domain", Words, nullable=False),
    sa.Column("wanted_host", Words, nullable=False),  # as the file says it
    sa.Column("host_id", Words, nullable=False, index=True),  # empty: none has its role yet
    sa.Column("listen_address", Words, nullable=False),
    sa.Column("http_port", Whole, nullable=False),
    sa.Column("https_port", Whole, nullable=False),
    sa.Column("certificate", sa.JSON, nullable=False),
    sa.Column("default", sa.Boolean, nullable=False),
    sa.Column("applied", sa.Boolean, nullable=False),
    sa.Column("ready", sa.Boolean, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("trusted_addresses", sa.JSON, nullable=False),
    sa.Column("http3", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("refused", Words, nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
)

# What a gateway's Envoy has acknowledged, by service: what a server that starts again knows before it hears that Envoy.
acknowledged = sa.Table(
    "acknowledged",
    metadata,
    sa.Column("gateway", Words, primary_key=True),
    sa.Column("service", Words, primary_key=True),
    sa.Column("host_id", Words, nullable=False),  # of the Envoy; that of a host before says nothing
    sa.Column("version", Words, nullable=False),  # of what it serves for it: a hash
)

# What gateways show to their callers, and how it came about.
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("gateway", Words, primary_key=True),
    sa.Column("name", Words, primary_key=True),  # for whom; "*": for all names; empty: the gateway's own CA
    sa.Column("source", Words, nullable=False),  # the certificate of the gateway that it was made for
    sa.Column("chain_pem", Words, nullable=False),  # empty: none yet
    sa.Column("key", sa.LargeBinary, nullable=False),  # sealed
    sa.Column("not_before_s", sa.Float, nullable=False),
    sa.Column("not_after_s", sa.Float, nullable=False),
    sa.Column("problem", Words, nullable=False),  # why the last try for a newer one failed
    sa.Column("failures", Whole, nullable=False),  # in a row
    sa.Column("next_try_s", sa.Float, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("user", Words, nullable=False),
    sa.Column("wanted", Words, nullable=False),
    sa.Column("state", Words, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("submitted_at_s", sa.Float, nullable=False),
    sa.Column("running_since_s", sa.Float),
    sa.Column("ended_at_s", sa.Float),
    sa.Column("ever_published", sa.Boolean, nullable=False),
    sa.Column("log_tail", sa.JSON, nullable=False),
    sa.Column("cause_id", Words, nullable=False),  # of the last apply, stop or scaling
    sa.Column("scaled_to", Whole),  # replicas of a run with a range; null: a new one
    sa.Column("proven_revision", Whole),  # one that worked before the run was scaled to zero
)
# One run that is not finished per name: the database itself refuses a second one.
_ACTIVE = runs.c.ended_at_s.is_(None)
sa.Index("runs_active_name", runs.c.name, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("run_id", Words, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("number", Whole, primary_key=True),
    sa.Column("spec", Words, nullable=False),
    sa.Column("secrets", sa.LargeBinary, nullable=False),  # sealed
    sa.Column("user", Words, nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
    sa.Column("failed", Words, nullable=False),
    sa.Column("code_id", Words, nullable=False, index=True),  # of the manifest that was sent along; empty: none
    sa.Column("code_bytes", Whole, nullable=False),
    sa.Column("gpu_memory_peak_mib", Whole),  # the most that one replica of it has held; null: not measured yet
)

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("run_id", Words, sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("index", Whole, nullable=False),
    sa.Column("revision", Whole, nullable=False),
    sa.Column("wanted", Words, nullable=False),
    sa.Column("created_at_s", sa.Float, nullable=False),
    sa.Column("host_id", Words, index=True),
    sa.Column("phase", Words, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("host_port", Whole, nullable=False),
    sa.Column("restarts", Whole, nullable=False),
    sa.Column("exit_code", Whole),
    sa.Column("pulled_bytes", Whole, nullable=False),
    sa.Column("pull_total_bytes", Whole, nullable=False),
    sa.Column("probes_passed", Whole, nullable=False),
    sa.Column("probes_total", Whole, nullable=False),
    sa.Column("log_tail", sa.JSON, nullable=False),
    sa.Column("first_ready_at_s", sa.Float),
    sa.Column("in_rotation", sa.Boolean, nullable=False),
    sa.Column("drain_started_at_s", sa.Float),
    sa.Column("drained_at_s", sa.Float),
    sa.Column("stop_grace_s", sa.Float, nullable=False),
    sa.Column("lost", sa.Boolean, nullable=False),
    sa.Column("ended_at_s", sa.Float),
    sa.Column("gpu_uuids", sa.JSON, nullable=False),
    sa.Column("cause_id", Words, nullable=False),  # of the last change of it
    sa.Column("refused", sa.Boolean, nullable=False),
    _version(),
)
# Of most that there ever were nothing is left, and in nearly all questions those are no part. With these each piece of a long
# list costs what it brings, and what a host runs costs as much with ten thousand replicas as with ten.
_LEFT, _ENDED = replicas.c.ended_at_s.is_(None), replicas.c.ended_at_s.is_not(None)
sa.Index("replicas_left", replicas.c.id, sqlite_where=_LEFT, postgresql_where=_LEFT)
sa.Index("replicas_left_by_run", replicas.c.run_id, replicas.c.id, sqlite_where=_LEFT, postgresql_where=_LEFT)
sa.Index("replicas_left_by_host", replicas.c.host_id, replicas.c.id, sqlite_where=_LEFT, postgresql_where=_LEFT)
sa.Index("replicas_ended", replicas.c.ended_at_s, sqlite_where=_ENDED, postgresql_where=_ENDED)

reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("replica_id", Words, sa.ForeignKey("replicas.id"), primary_key=True),
    sa.Column("host_id", Words, sa.ForeignKey("hosts.id"), nullable=False, index=True),
    sa.Column("gpu_uuids", sa.JSON, nullable=False),
    sa.Column("exclusive", sa.Boolean, nullable=False),
    sa.Column("gpu_memory_mib", Whole, nullable=False),
    sa.Column("cpus", sa.Float, nullable=False),
    sa.Column("memory_mib", Whole, nullable=False),
    sa.Column("run_name", Words, nullable=False),
    sa.Column("revision", Whole, nullable=False),
    _version(),
)

# What gateways counted: requests that replicas answered, and tokens that models said they used.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("from_s", Whole, primary_key=True),
    sa.Column("span_s", Whole, primary_key=True),  # an hour, or a day when it is long ago
    sa.Column("token_id", Words, primary_key=True),  # empty: none was asked for
    sa.Column("service", Words, primary_key=True),
    sa.Column("model", Words, primary_key=True),  # empty: not called as a model
    sa.Column("requests", Whole, nullable=False),
    sa.Column("prompt_tokens", Whole, nullable=False),
    sa.Column("completion_tokens", Whole, nullable=False),
)

# Up to where the access log of each gateway of each host is counted. A gateway that moves has another log there.
usage_places = sa.Table(
    "usage_places",
    metadata,
    sa.Column("host_id", Words, primary_key=True),
    sa.Column("gateway", Words, primary_key=True),
    sa.Column("place", Words, nullable=False),
    sa.Column("missed_at_s", sa.Float),  # when it was last seen that lines were gone before they were counted
)

# Which of several servers leads: one row, on PostgreSQL alone. See domain/leadership.py.
leadership = sa.Table(
    "leadership",
    metadata,
    sa.Column("id", Whole, primary_key=True),  # 1
    sa.Column("term", Whole, nullable=False),
    sa.Column("server", Words, nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("address", Words, nullable=False),
    sa.Column("since_s", sa.Float, nullable=False),
    sa.Column("renewed_at_s", sa.Float, nullable=False),
)

# Code that was sent along, for all of several servers: store/code_copies.py.
code_manifests = sa.Table(
    "code_manifests",
    metadata,
    sa.Column("code_id", Words, primary_key=True),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("contents", sa.JSON, nullable=False),  # sizes in bytes by sha256
)

code_contents = sa.Table(
    "code_contents",
    metadata,
    sa.Column("sha256", Words, primary_key=True),
    sa.Column("number", Whole, primary_key=True),  # of the piece, from 0
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("last", sa.Boolean, nullable=False),
)
