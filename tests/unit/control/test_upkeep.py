"""upkeep: every row comes over, a backup is of one moment while others write, and what does not fit is refused whole."""

import asyncio
import io
import json
import stat
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fixtures.control import (
    DEADLINE_S,
    State,
    add_gateway,
    add_host,
    add_replica,
    add_run,
    add_token,
    migrated,
    opened,
)
from homeport_control import upkeep
from homeport_control.app import only_server
from homeport_control.domain.errors import BadRequest, Conflict, HomeportError, NotFound, NotReady
from homeport_control.domain.usage import Usage, UsageBatch, UsageKey
from homeport_control.settings import ServerSettings
from homeport_control.store import events, meta, place, usage
from homeport_control.store.code import CodeStore
from homeport_control.store.connect import open_database
from homeport_control.store.place import Place
from homeport_control.store.schema import metadata
from rig.postgres import ESCAPED, Postgres


@pytest.fixture
def url(postgresql: Postgres) -> Iterator[str]:
    """A new database, without tables."""
    made = postgresql.create()
    yield made
    postgresql.drop(made)


@pytest.fixture
def settings(directory: Path) -> ServerSettings:
    return ServerSettings(directory)


async def fill(state: State) -> None:
    """Something of most kinds, secrets and numbers beyond 32 bits among it."""
    run_id = await add_run(state, "hello", env=["PASSWORD=correct-horse"])
    await add_host(state)
    await add_gateway(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    await add_token(state, "hp_ann", "user", expires_at_s=2e9)
    async with state.database.write() as write:
        await meta.put_once(write, "server_id", "server1")
        counted = ((UsageKey(3600, "t", "hello", ""), Usage(2**35, 1, 2)),)
        await usage.add(write, "h1", "main", "", UsageBatch("place", counted, missed=False), 1.0)
        await write.connection.execute(sa.delete(metadata.tables["events"]).where(sa.text("id > 3")))


async def all_rows(where: Place) -> dict[str, list[tuple[Any, ...]]]:
    database = open_database(where)
    try:
        async with database.read() as connection:
            found = {}
            for table in metadata.sorted_tables:
                columns = [it for it in table.c if it.name != "version"]  # which each database gives by itself
                query = sa.select(*columns).order_by(*table.primary_key)
                found[table.name] = [tuple(row) for row in await connection.execute(query)]
            return found
    finally:
        await database.close()


def names(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir())


async def next_event_id(where: Place) -> int:
    database = open_database(where)
    try:
        async with database.write() as write:
            events.record(write, kind="server", object_id="s", name="s", sentence="a new one")
        async with database.read() as connection:
            return await events.last_id(connection)
    finally:
        await database.close()


async def test_a_move_to_postgresql_and_back_keeps_every_row(
    settings: ServerSettings, url: str, tmp_path: Path
) -> None:
    async with opened(settings.state_dir) as state:
        await fill(state)
    before, file = await all_rows(settings.database), settings.state_dir / "homeport.db"
    content = file.read_bytes()
    counted = await upkeep.move(settings, url)
    assert counted == {name: len(rows) for name, rows in before.items()}
    there = await all_rows(url)
    told = there["events"].pop()
    assert there == before
    assert "was moved from" in told[-1]
    assert ESCAPED not in told[-1]
    assert file.read_bytes() == content
    assert place.from_file(settings.state_dir / place.FILE) == url
    assert stat.S_IMODE((settings.state_dir / place.FILE).stat().st_mode) == 0o600
    last = told[0]
    assert last > len(there["events"]) + 1, "an id of a row that is gone is not given out again"
    assert await next_event_id(url) == last + 1

    moved = replace(settings, database_url=url)
    with pytest.raises(Conflict, match=r"homeport\.db is not empty"):
        await upkeep.move(moved, "sqlite")
    file.rename(tmp_path / "old.db")
    await upkeep.move(moved, "sqlite")
    back = await all_rows(file)
    assert {**back, "events": back["events"][: len(before["events"])]} == before
    assert not (settings.state_dir / place.FILE).exists()
    assert await next_event_id(file) == last + 3


async def test_a_move_is_refused_where_it_would_mix_or_lose(
    settings: ServerSettings, url: str, postgresql: Postgres, tmp_path: Path
) -> None:
    name = url.rpartition("/")[2]
    with only_server(settings.state_dir), pytest.raises(Conflict, match="another server runs"):
        await upkeep.move(settings, url)
    with pytest.raises(BadRequest, match="does not begin with postgresql://"):
        await upkeep.move(settings, "mysql://x/y")
    with pytest.raises(NotFound, match="there is no database"):
        await upkeep.move(ServerSettings(tmp_path), url)
    postgresql.sql("CREATE TABLE invoices (id int)", name)
    with pytest.raises(Conflict, match="tables that are not Homeport's, invoices is one"):
        await upkeep.move(settings, url)
    postgresql.sql("DROP TABLE invoices", name)
    await upkeep.move(settings, url)
    with pytest.raises(Conflict, match=r"is not empty \(.*1 events.*\); nothing was changed"):
        await upkeep.move(settings, url)
    postgresql.sql("UPDATE alembic_version SET version_num = '0001'", name)
    with pytest.raises(Conflict, match="has the schema 0001, this version of Homeport has"):
        await upkeep.move(settings, url)


async def test_a_move_that_breaks_off_leaves_nothing(settings: ServerSettings, url: str, postgresql: Postgres) -> None:
    async with opened(settings.state_dir) as state:
        await fill(state)
    await upkeep._prepare(url)
    name = url.rpartition("/")[2]
    postgresql.sql("ALTER TABLE replicas ADD CONSTRAINT no CHECK (id <> 'r1')", name)
    with pytest.raises(sa.exc.IntegrityError):
        await upkeep.move(settings, url)
    assert not any((await all_rows(url)).values())
    assert not (settings.state_dir / place.FILE).exists()
    postgresql.sql("ALTER TABLE replicas DROP CONSTRAINT no", name)
    await upkeep.move(settings, url)


async def test_a_move_waits_for_no_server_that_is_still_on_the_database(settings: ServerSettings, url: str) -> None:
    await upkeep.move(settings, url)
    (settings.state_dir / "homeport.db").unlink()
    database = open_database(url)
    async with database.read() as connection:
        await meta.get(connection, "server_id")
        with pytest.raises(Conflict, match="is in use by a server"):
            await upkeep.move(replace(settings, database_url=url), "sqlite")
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_backup_is_of_one_moment_while_a_server_writes(
    kind: str, settings: ServerSettings, url: str, tmp_path: Path
) -> None:
    """Each write makes a run, its revision and two events; a copy that tears one apart has another number of one of them."""
    if kind == "postgresql":
        await upkeep.move(settings, url)
        settings = replace(settings, database_url=url)
    async with opened(settings.state_dir) as state:
        stop = asyncio.Event()

        async def writes() -> int:
            number = 0
            while not stop.is_set():
                await add_run(state, f"run-{number}")
                number += 1
            return number

        with only_server(settings.state_dir):
            writing = asyncio.create_task(writes())
            made = [await upkeep.backup(settings, tmp_path / f"{number}.tar") for number in range(3)]
            stop.set()
            total = await asyncio.wait_for(writing, DEADLINE_S)
    seen = []
    for number, (manifest, size_bytes) in enumerate(made):
        file = tmp_path / f"{number}.tar"
        assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (size_bytes, 0o600)
        assert manifest.rows["runs"] == manifest.rows["revisions"]
        seen.append(manifest.rows["runs"])
    assert seen == sorted(seen)
    assert total >= seen[-1]
    assert [name for name in names(tmp_path) if name.startswith(".")] == [], "nothing is left beside it"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_restored_server_is_the_one_that_was_backed_up(
    kind: str, settings: ServerSettings, url: str, tmp_path: Path
) -> None:
    async with opened(settings.state_dir) as state:
        await fill(state)
        code = CodeStore(settings.code, keep_free_bytes=0)
        await code.keep("c" * 64, b"manifest", {"a" * 64: 3})
        (settings.code / "contents" / ("a" * 64)).write_bytes(b"abc")
    before = await all_rows(settings.database)
    if kind == "postgresql":
        await upkeep.move(settings, url)
        await upkeep.backup(replace(settings, database_url=url), tmp_path / "one.tar")
    else:
        await upkeep.backup(settings, tmp_path / "one.tar")

    other = ServerSettings(tmp_path / "other")
    manifest, aside = await upkeep.restore(other, tmp_path / "one.tar", force=False)
    assert (manifest.server_id, aside) == ("server1", None)
    for name in ("ca.pem", "ca.key", "secret.key"):
        assert (other.state_dir / name).read_bytes() == (settings.state_dir / name).read_bytes()
        assert stat.S_IMODE((other.state_dir / name).stat().st_mode) == 0o600
    after = await all_rows(other.database)
    for table in set(before) - {"hosts", "events"}:
        assert after[table] == before[table], table
    assert "was restored from a backup of" in after["events"][-1][-1]
    restored = CodeStore(other.code, keep_free_bytes=0)
    assert await restored.missing("c" * 64) == 0
    async with opened(other.state_dir) as state:
        assert state.ca.sha256
        await add_run(state, "another")


async def test_hosts_follow_a_restored_server(settings: ServerSettings, tmp_path: Path) -> None:
    """They have heard of later generations, and have certificates that the old database does not know."""
    async with opened(settings.state_dir) as state:
        await add_host(state)
        async with state.database.write() as write:
            await write.connection.execute(sa.text("UPDATE hosts SET generation = 7, serials = '[\"old\"]'"))
    await upkeep.backup(settings, tmp_path / "one.tar")
    for _ in range(2):
        began_s = int(time.time())
        other = ServerSettings(tmp_path / "other")
        await upkeep.restore(other, tmp_path / "one.tar", force=True)
        async with opened(other.state_dir) as state, state.database.read() as connection:
            row = (await connection.execute(sa.text("SELECT generation, serials FROM hosts"))).one()
        assert row.generation >= began_s
        assert json.loads(row.serials) == []


async def test_a_restore_puts_aside_what_is_there_only_when_it_is_told_to(
    settings: ServerSettings, tmp_path: Path, template: Path
) -> None:
    async with opened(settings.state_dir) as state:
        await add_run(state, "old")
    await upkeep.backup(settings, tmp_path / "one.tar")
    async with opened(settings.state_dir) as state:
        await add_run(state, "young")
    with pytest.raises(Conflict, match="is not empty; --force puts aside"):
        await upkeep.restore(settings, tmp_path / "one.tar", force=False)
    with only_server(settings.state_dir), pytest.raises(Conflict, match="another server runs"):
        await upkeep.restore(settings, tmp_path / "one.tar", force=True)
    _, aside = await upkeep.restore(settings, tmp_path / "one.tar", force=True)
    assert aside is not None
    assert len((await all_rows(settings.database))["runs"]) == 1
    assert len((await all_rows(aside / "homeport.db"))["runs"]) == 2
    _, again = await upkeep.restore(settings, tmp_path / "one.tar", force=True)
    assert again is not None
    assert not list(again.glob("before-restore-*")), "what was put aside before stays where it is"


async def test_a_restore_onto_postgresql(settings: ServerSettings, url: str, tmp_path: Path) -> None:
    async with opened(settings.state_dir) as state:
        await fill(state)
    await upkeep.backup(settings, tmp_path / "one.tar")
    other = ServerSettings(tmp_path / "other", database_url=url)
    await upkeep.restore(other, tmp_path / "one.tar", force=False)
    assert not (other.state_dir / "homeport.db").exists()
    there = await all_rows(url)
    assert [row[1] for row in there["runs"]] == ["hello"]
    third = ServerSettings(tmp_path / "third", database_url=url)
    with pytest.raises(Conflict, match="is not empty"):
        await upkeep.restore(third, tmp_path / "one.tar", force=False)
    assert names(tmp_path / "third") == ["server.lock"]
    await upkeep.restore(third, tmp_path / "one.tar", force=True)
    assert len((await all_rows(url))["runs"]) == 1


def spoilt(good: Path, to: Path, change: str) -> Path:
    """A tar with one thing wrong."""
    with tarfile.open(good) as source, tarfile.open(to, "w") as target:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name == "manifest.json":
                values = json.loads(data)
                values |= {"newer schema": {"schema": "9999"}, "newer format": {"format": 9}}.get(change, {})
                data = b"[]" if change == "no manifest" else json.dumps(values).encode()
            if member.name == "homeport.db" and change == "damaged":
                data = data[:100] + b"\xff" * (len(data) - 100)
            if member.name == "ca.key" and change == "no key":
                continue
            if member.name == "ca.pem" and change in {"outside", "absolute", "stranger"}:
                member.name = {"outside": "code/contents/../../../x", "absolute": "/etc/x", "stranger": "hook.sh"}[
                    change
                ]
            if member.name == "ca.pem" and change == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(data) if member.isfile() else 0
            target.addfile(member, io.BytesIO(data))
    if change == "cut off":
        to.write_bytes(to.read_bytes()[: to.stat().st_size // 2])
    return to


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("newer schema", "schema 9999 is not known to this version"),
        ("newer format", "was made by Homeport"),
        ("no manifest", "does not begin with a manifest.json that fits"),
        ("damaged", "the database is damaged"),
        ("no key", "ca.key is missing"),
        ("outside", "does not belong into one"),
        ("absolute", "does not belong into one"),
        ("stranger", "does not belong into one"),
        ("link", "does not belong into one"),
        ("cut off", "is no whole backup"),
    ],
)
async def test_what_is_no_whole_backup_is_refused_and_nothing_changes(
    change: str, says: str, settings: ServerSettings, tmp_path: Path
) -> None:
    async with opened(settings.state_dir) as state:
        await add_run(state)
    await upkeep.backup(settings, tmp_path / "good.tar")
    other = ServerSettings(migrated(settings.state_dir / "homeport.db", tmp_path / "other").parent)
    kept = (other.state_dir / "homeport.db").read_bytes()
    with pytest.raises(HomeportError, match=says) as caught:
        await upkeep.restore(other, spoilt(tmp_path / "good.tar", tmp_path / "bad.tar", change), force=True)
    assert "\n" not in str(caught.value)
    assert names(other.state_dir) == ["homeport.db", "server.lock"]
    assert (other.state_dir / "homeport.db").read_bytes() == kept
    assert not (tmp_path / "x").exists()


async def test_a_backup_that_cannot_be_made_leaves_no_file(settings: ServerSettings, tmp_path: Path) -> None:
    (tmp_path / "there.tar").touch()
    with pytest.raises(Conflict, match="is there already"):
        await upkeep.backup(settings, tmp_path / "there.tar")
    with pytest.raises(NotFound, match="there is no database"):
        await upkeep.backup(ServerSettings(tmp_path / "nowhere"), tmp_path / "one.tar")
    (settings.state_dir / "homeport.db").write_bytes(b"something else entirely " * 1000)
    with pytest.raises(NotReady, match="the database is damaged"):
        await upkeep.backup(settings, tmp_path / "one.tar")
    assert names(tmp_path) == ["server", "there.tar"]
