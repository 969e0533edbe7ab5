"""upgrading: the wish is a file, and what came of it is told: by this process, or by the one that it became."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from homeport_agent.outbox import Due, Outbox
from homeport_agent.upgrading import Upgrading
from homeport_protos.agent.v1 import agent_pb2

DEADLINE_S = 5.0


@asynccontextmanager
async def upgrading(state_dir: Path) -> AsyncIterator[tuple[Upgrading, Outbox]]:
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.ensure_future(work))

    desk, outbox = Upgrading(state_dir, spawn, look_s=0.01), Outbox()
    desk.opened(outbox)
    try:
        yield desk, outbox
    finally:
        for task in tasks:
            task.cancel()


async def said(outbox: Outbox) -> tuple[str, str]:
    async with asyncio.timeout(DEADLINE_S):
        message = await outbox.take(DEADLINE_S)
    assert not isinstance(message, Due)
    return message.upgrade_result.build, message.upgrade_result.error


async def test_root_is_asked_by_a_file_and_its_reason_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "upgrade"
    folder.mkdir()
    (folder / "result").write_text("old failed: long ago\n")
    async with upgrading(tmp_path) as (desk, outbox):
        assert await said(outbox) == ("old", "long ago")
        desk.requested(agent_pb2.Upgrade(build="new"))
        desk.requested(agent_pb2.Upgrade(build="new"))
        async with asyncio.timeout(DEADLINE_S):
            while not (folder / "wanted").exists():  # noqa: ASYNC110 - a file tells nobody that it changed
                await asyncio.sleep(0.01)
        assert (folder / "wanted").read_text() == "new"
        assert not (folder / "result").exists(), "the answer to an older wish is none to this one"
        (folder / "result").write_text("new failed: no network\n")
        assert await said(outbox) == ("new", "no network")


async def test_a_good_end_is_not_told_the_hello_of_the_new_build_says_it(tmp_path: Path) -> None:
    (tmp_path / "upgrade").mkdir()
    (tmp_path / "upgrade" / "result").write_text("new ok\n")
    async with upgrading(tmp_path) as (_, outbox):
        await asyncio.sleep(0)
        assert await outbox.take(0.1) is Due.REPORT


async def test_an_agent_that_the_script_did_not_install_says_so(tmp_path: Path) -> None:
    async with upgrading(tmp_path) as (desk, outbox):
        desk.requested(agent_pb2.Upgrade(build="new"))
        build, error = await said(outbox)
    assert build == "new"
    assert "was not installed by the server's script" in error
    assert "fleet join-command" in error
