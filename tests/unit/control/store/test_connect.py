"""store/connect: transactions that are whole, topics after commits, on SQLite and on PostgreSQL."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S, State, add_run, opened
from homeport_control.store import meta, runs

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT count(*) FROM c"


async def test_topics_are_published_after_the_commit(state: State) -> None:
    with state.database.changes.subscribe("runs") as subscription:
        async with state.database.write() as write:
            write.touch("runs")
            assert not await subscription.wait(0)
        assert await subscription.wait(0)


async def test_nothing_is_written_or_published_after_a_rollback(state: State) -> None:
    async def failing() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            write.touch("runs")
            raise ZeroDivisionError

    with state.database.changes.subscribe("runs") as subscription:
        with pytest.raises(ZeroDivisionError):
            await failing()
        assert not await subscription.wait(0)
    async with state.database.read() as connection:
        assert await meta.get(connection, "a") is None


async def test_writers_of_one_process_wait_for_one_another(state: State) -> None:
    async def count() -> None:
        async with state.database.write() as write:
            current = int(await write.connection.scalar(sa.text("SELECT count(*) FROM meta")))
            await meta.put_once(write, f"key{current}", "")

    await asyncio.wait_for(asyncio.gather(*(count() for _ in range(20))), DEADLINE_S)
    async with state.database.read() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM meta")) == 20


async def test_a_write_that_is_cancelled_in_a_statement_leaves_no_lock(state: State) -> None:
    begun = asyncio.Event()

    async def slow() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            begun.set()
            await write.connection.execute(sa.text(SLOW))

    task = asyncio.create_task(slow())
    await asyncio.wait_for(begun.wait(), DEADLINE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(DEADLINE_S), state.database.write() as write:
        assert await meta.get(write.connection, "a") is None


async def test_a_commit_that_is_cancelled_is_whole_and_published(state: State) -> None:
    begun = asyncio.Event()

    async def apply() -> None:
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")
            write.touch("runs")
            begun.set()  # nothing awaits between this and COMMIT, so that the cancellation meets COMMIT itself

    with state.database.changes.subscribe("runs") as subscription:
        task = asyncio.create_task(apply())
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await subscription.wait(0)
    async with state.database.read() as connection:
        assert await meta.get(connection, "a") == "b"


async def test_an_error_does_not_carry_what_was_written(state: State) -> None:
    async def twice() -> None:
        async with state.database.write() as write:
            for _ in range(2):
                await write.connection.execute(sa.text("INSERT INTO meta VALUES ('k', :v)"), {"v": "s3cret"})

    with pytest.raises(sa.exc.IntegrityError) as caught:
        await twice()
    assert "s3cret" not in str(caught.value)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from fixtures.control import add_run, opened

async def main():
    async with opened(Path(sys.argv[1])) as state:
        await add_run(state, "hello")
        print("acknowledged", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_outlives_kill_9(directory: Path) -> None:
    tests = Path(__file__).parents[3]
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", KILLED, str(directory)],
        env={"PYTHONPATH": str(tests)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (died.stdout, died.returncode) == ("acknowledged\n", -9), died.stderr
    async with opened(directory) as state, state.database.read() as connection:
        assert [run.name for run in await runs.list_active(connection)] == ["hello"]


async def test_reads_go_on_while_a_write_is_open(state: State) -> None:
    await add_run(state)
    async with state.database.write() as write:
        await meta.put_once(write, "a", "b")
        async with state.database.read() as connection:
            assert await meta.get(connection, "a") is None
            assert len(await runs.list_active(connection)) == 1


async def test_a_call_that_is_cancelled_at_any_point_gives_its_connection_back(state: State) -> None:
    async def call() -> None:
        async with state.database.read() as connection:
            await meta.get(connection, "a")
        async with state.database.write() as write:
            await meta.put_once(write, "a", "b")

    await call()
    pool = state.database.engine.pool
    for points in range(40):
        task = asyncio.create_task(call())
        for _ in range(points):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE_S)
        assert isinstance(pool, sa.AsyncAdaptedQueuePool)
        assert pool.checkedout() == 0, points
