"""loops/gateway with a database that fails: what is published stays, an empty world never comes of it, and it goes on after."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.control import DEADLINE_S, State, add_host, add_replica, add_run, migrated, observe
from homeport_control.domain.errors import NotReady
from homeport_control.domain.gateway import GatewaySnapshot
from homeport_control.domain.replicas import Phase
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.loops.loop import Loop, Turn

PORT = 40000


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    """A file, which is damaged."""
    return migrated(template, tmp_path / "server").parent


def sql(*statements: str) -> Callable[[Path], None]:
    """By another process's connection."""

    def run(file: Path) -> None:
        with sqlite3.connect(file) as connection:
            for statement in statements:
                connection.execute(statement)

    return run


def cut(file: Path) -> None:
    """The disk has lost all but its first pages."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.with_suffix(".whole").write_bytes(file.read_bytes())
    with file.open("r+b") as data:
        data.truncate(3 * 4096)


def put_back(file: Path) -> None:
    with file.open("r+b") as data:
        data.write(file.with_suffix(".whole").read_bytes())


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        (sql("ALTER TABLE replicas RENAME TO away"), sql("ALTER TABLE away RENAME TO replicas")),
        (sql("ALTER TABLE gateways RENAME TO away"), sql("ALTER TABLE away RENAME TO gateways")),
        (sql("ALTER TABLE tokens RENAME TO away"), sql("ALTER TABLE away RENAME TO tokens")),
        (cut, put_back),
    ],
    ids=["replicas", "gateways", "tokens", "cut"],
)
async def test_a_read_that_fails_leaves_what_is_published(
    state: State, breaks: Callable[[Path], None], mends: Callable[[Path], None]
) -> None:
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.READY, host_port=PORT)
    published: list[GatewaySnapshot] = []
    forgotten: list[str] = []
    turned, failed = asyncio.Event(), asyncio.Event()
    gateway = GatewayLoop(state.database)

    def publish(snapshot: GatewaySnapshot) -> int:
        published.append(snapshot)
        return len(published)

    gateway.publish, gateway.forget = publish, forgotten.append

    async def turn(now_s: float) -> Turn:
        try:
            done = await gateway.turn(now_s)
        except Exception:
            failed.set()
            raise
        turned.set()
        return done

    running = asyncio.create_task(Loop("gateway", state.database.changes, GatewayLoop.topics, turn).run())
    async with asyncio.timeout(DEADLINE_S):
        await turned.wait()
        good = published[-1]
        assert [it.replica_id for service in good.services for it in service.endpoints] == ["r1"]

        await state.database.close()  # else a connection of the pool answers from what it remembers
        await asyncio.to_thread(breaks, state.file)
        count = len(published)
        state.database.changes.publish({"gateway"})
        await failed.wait()
        assert len(published) == count
        assert forgotten == []

        await asyncio.to_thread(mends, state.file)
        turned.clear()
        await turned.wait()
        assert published[-1] == good
    running.cancel()


async def test_why_is_said_in_one_line(state: State) -> None:
    await asyncio.to_thread(sql("ALTER TABLE replicas RENAME TO away"), state.file)
    with pytest.raises(NotReady, match="the database cannot be used now: no such table: replicas"):
        await GatewayLoop(state.database).turn(time.time())
