"""store/migrations: a database that an older version filled comes through with every row, and can be used."""

import sqlite3
from pathlib import Path

import alembic.command
import alembic.config
from fixtures.control import opened
from homeport_control.store import connect, gateways, hosts, replicas, reservations, runs, tokens, users
from homeport_control.trust.tokens import sha256_hex

MIGRATIONS = Path(connect.__file__).parent / "migrations"
ROWS = {
    "meta": [("server_id", "s1")],
    "hosts": [
        ("h1", "box", "local", "remote", "agent", "127.0.0.1", 0, '{"hostname": "box", "gpus": []}', 1.0, "connected", "",
         1.0, "boot", 7, 3, "local", 1, ""),
    ],
    "runs": [
        ("run1", "web", "ann", "run", "running", "1 of 1", 10.0, 11.0, None, 1, '["a line"]', "old decision"),
        ("run0", "web", "ann", "stop", "terminated", "stopped", 5.0, None, 6.0, 0, "[]", ""),
    ],
    "revisions": [("run1", 1, '{"a": 1}', b"sealed", "ann", 10.0, ""), ("run0", 1, "{}", b"", "ann", 5.0, "")],
    "replicas": [
        ("r1", "run1", 0, 1, "run", 10.0, "h1", "ready", "", 40000, 0, None, 0, 0, 1, 1, "[]", 11.0, 1, None, None, 0.0,
         0, None, '["GPU-1"]'),
    ],
    "reservations": [("r1", "h1", '["GPU-1"]', 1, 0, 1.0, 64, "web", 1)],
}  # fmt: skip
# id, name, plain (hashed below), role, revoked at
TOKENS = [
    ("t1", "admin", "hp_admin", "admin", None),
    ("t2", "ann", "hp_ann", "user", None),
    ("t3", "ann", "hp_ann_big", "admin", None),
    ("t4", "gone", "hp_gone", "user", 3.0),
    ("t5", "ci", "hp_ci", "service", None),
    ("t6", "join", "hpj_x", "join", None),
]


def at_first_schema(file: Path) -> None:
    """A database as version 0001 made it, with rows in each of its tables."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["file"], config.attributes["busy_timeout_s"] = file, 5.0
    alembic.command.upgrade(config, "0001")
    with sqlite3.connect(file) as connection:
        for table, rows in ROWS.items():
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        for number, (token_id, name, plain, role, revoked_at_s) in enumerate(TOKENS):
            row = (token_id, name, sha256_hex(plain), role, "[]", "local", 0, 1.0 + number, None, revoked_at_s)
            connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        filled = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        empty = [name for name in filled if connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)]  # noqa: S608
    assert empty == [], "this test has a row for every table of that version"


async def test_a_database_of_the_first_version_is_whole_afterwards(tmp_path: Path) -> None:
    at_first_schema(tmp_path / "homeport.db")
    connect.migrate(tmp_path / "homeport.db")
    async with opened(tmp_path) as state, state.database.read() as connection:
        shown = await runs.list_shown(connection, (), finished=True)
        assert [(run.id, run.state, run.log_tail, run.cause_id) for run in shown] == [
            ("run1", "running", ("a line",), ""), ("run0", "terminated", (), ""),
        ]  # fmt: skip
        assert [(each.number, each.code_id, each.code_bytes) for each in shown[0].revisions] == [(1, "", 0)]
        assert await runs.sealed_secrets(connection, "run1", 1) == b"sealed"
        (host,) = await hosts.list_all(connection)
        assert (host.name, host.cause_id) == ("box", "")
        (gateway,) = await gateways.list_all(connection)
        assert (gateway.name, gateway.host_id, gateway.ready, gateway.default) == ("local", "h1", True, True)
        assert (host.findings, host.cordoned_gpus, dict(host.labels)) == ((), (), {})
        (replica,) = await replicas.list_active(connection)
        assert (replica.id, replica.gpu_uuids, replica.in_rotation, replica.cause_id) == ("r1", ("GPU-1",), True, "")
        assert (replica.refused, shown[0].newest.gpu_memory_peak_mib, shown[0].scaled_to) == (False, None, None)
        assert shown[0].proven_revision is None
        assert [claim.replica_id for claim in await reservations.list_all(connection)] == ["r1"]


async def test_each_token_of_before_belongs_to_a_user_afterwards(tmp_path: Path) -> None:
    at_first_schema(tmp_path / "homeport.db")
    connect.migrate(tmp_path / "homeport.db")
    async with opened(tmp_path) as state, state.database.read() as connection:
        found = {user.name: user.role for user in await users.list_all(connection)}
        owners = {record.id: record.user for record in await tokens.list_all(connection)}
        admins = {record.id for record in await tokens.valid_admins(connection, 100.0)}
        join = await tokens.by_hash(connection, sha256_hex("hpj_x"))
    assert found == {"admin": "admin", "ann": "admin"}, "the larger one of her two valid tokens' roles"
    assert owners == {"t1": "admin", "t2": "ann", "t3": "ann", "t4": "gone", "t5": "admin"}
    assert admins == {"t1", "t3"}
    assert join is not None
    assert join.user == ""


async def test_what_was_there_before_goes_on_with_events(tmp_path: Path) -> None:
    at_first_schema(tmp_path / "homeport.db")
    connect.migrate(tmp_path / "homeport.db")
    async with opened(tmp_path) as state:
        async with state.database.write(cause_id="c1") as write:
            await replicas.update(write, "r1", in_rotation=False)
            await hosts.update(write, "h1", {"cordoned": True})
        async with state.database.read() as connection:
            (replica,) = await replicas.list_active(connection)
    assert (replica.in_rotation, replica.cause_id) == (False, "c1"), "one without a cause gets that of its next change"
