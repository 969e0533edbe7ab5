"""Databases that earlier versions have really written come to this schema with all that they hold."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from fixtures.earlier import SCHEMAS, Earlier, earlier
from homeport_control.store import before_migration, connect, events, hosts, replicas, runs, tokens, users
from homeport_control.store.schema import metadata
from homeport_control.trust.sealing import Sealer
from homeport_control.trust.tokens import sha256_hex


@pytest.fixture(params=SCHEMAS)
def found(request: pytest.FixtureRequest) -> Earlier:
    return earlier(request.param)


def test_there_are_some() -> None:
    assert SCHEMAS[0] == "0001"
    assert len(SCHEMAS) >= 3


def test_it_becomes_exactly_this_schema_and_keeps_every_row(found: Earlier, tmp_path: Path) -> None:
    file = found.put(tmp_path)
    copied = before_migration.prepare(file, "0.1.0")
    assert copied is not None
    assert copied.before == found.schema
    connect.migrate(file)
    with sa.create_engine(f"sqlite:///{file}", poolclass=sa.pool.NullPool).connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, metadata) == []
    with closing(sqlite3.connect(file)) as database:
        now = {
            name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        }
    assert {name: count for name, count in found.facts["rows"].items() if now.get(name, 0) < count} == {}


async def test_what_it_holds_is_read_as_it_was_meant(found: Earlier, tmp_path: Path) -> None:
    file = found.put(tmp_path)
    connect.migrate(file)
    database = connect.open_database(file)
    try:
        async with database.read() as connection:
            shown = {run.name: run for run in await runs.list_shown(connection, (), finished=True)}
            assert (shown["web"].state, shown["gone"].state) == ("running", "terminated")
            run = shown["web"]
            sealed = await runs.sealed_secrets(connection, run.id, run.newest.number)
            assert "of-the-fixture" in str(Sealer.load_or_create(tmp_path / "secret.key").open(sealed))
            active = await replicas.list_active(connection)
            assert len([it for it in active if it.run_id == run.id and it.in_rotation]) == 2
            (host,) = await hosts.list_all(connection)
            assert (host.id, host.name) == (found.host_id, "test-host")
            admin = await tokens.by_hash(connection, sha256_hex(found.token))
            assert admin is not None
            assert not admin.why_not(time.time())
            assert admin.user in {user.name for user in await users.list_all(connection)}
            if found.facts["rows"].get("events"):
                told = await events.newest(connection, events.Filter(), 1000)
                assert any("web" in str(event) for event in told)
    finally:
        await database.close()
