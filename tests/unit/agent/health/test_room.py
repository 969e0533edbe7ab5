"""The room: told at once, kept on disk, proved by a check."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from fakes.health import START_S, uuid
from fixtures.threads import busy_threads
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuReading, XidEvent
from homeport_agent.health.model import HostLook, Outcome, Verdict
from homeport_agent.health.room import HealthRoom
from rig.stack import wait_for

DEADLINE_S = 10.0


class Rig:
    def __init__(self, state_dir: Path) -> None:
        self.now_s = START_S
        self.changes = 0
        self.has_changed = asyncio.Event()
        self.may_check = asyncio.Event()
        self.may_check.set()
        self.checked: list[str] = []
        self.verdicts = [Verdict.PASSED]
        self.gpus = [Gpu(uuid(0), "H100", 81920, 0), Gpu(uuid(1), "H100", 81920, 0)]
        self.path = state_dir / "health.json"
        self.room = HealthRoom(state_dir, self.check, self.changed, clock=lambda: self.now_s)
        self.room.read()

    def changed(self) -> None:
        self.changes += 1
        self.has_changed.set()

    async def check(self, gpu: Gpu) -> Outcome:
        self.checked.append(gpu.uuid)
        async with asyncio.timeout(DEADLINE_S):
            await self.may_check.wait()
        return Outcome(self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0], "so it is")

    def look(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now_s += 1
            readings = tuple(GpuReading(it.uuid) for it in self.gpus)
            self.room.looked(GpuSample(gpus=tuple(self.gpus), readings=readings), HostLook())

    def xid(self, code: int, index: int = 0) -> None:
        self.room.xid(XidEvent(uuid(index), code, self.now_s))

    @property
    def codes(self) -> list[str]:
        return [f"{it.gpu_uuid} {it.code}" for it in self.room.findings]

    async def changes_by_itself(self) -> None:
        self.has_changed.clear()
        async with asyncio.timeout(DEADLINE_S):
            await self.has_changed.wait()


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(rig.room.run()), asyncio.create_task(rig.room.run_saves())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_an_xid_is_told_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    before = rig.changes
    rig.xid(79)
    assert rig.changes == before + 1
    assert rig.codes == [f"{uuid(0)} xid-79"]
    rig.xid(79)
    rig.look(2)
    assert rig.changes == before + 1, "nothing new"


async def test_a_gpu_that_is_well_again_is_checked_and_comes_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    async with running(rig):
        rig.xid(119)
        rig.look(5)
        await rig.changes_by_itself()
    assert rig.checked == [uuid(0)]
    assert rig.codes == []


async def test_checks_are_made_one_after_the_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.may_check.clear()
    rig.look(2)
    rig.xid(119, 0)
    rig.xid(119, 1)
    async with running(rig):
        rig.look(5)
        await asyncio.to_thread(wait_for, "the first check", lambda: rig.checked, DEADLINE_S)
        rig.look(5)
        assert rig.checked == [uuid(0)]
        rig.may_check.set()
        await rig.changes_by_itself()
        if rig.codes:
            await rig.changes_by_itself()
    assert rig.checked == [uuid(0), uuid(1)]
    assert rig.codes == []


async def test_what_was_found_is_there_after_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    rig.xid(79)
    await rig.room.flush()
    again = Rig(tmp_path)
    assert again.codes == [f"{uuid(0)} xid-79"]
    assert [it.uuid for it in again.room.known] == [uuid(0), uuid(1)]
    del again.gpus[0]
    again.look(2)
    assert [it.uuid for it in again.room.known] == [uuid(0)]
    assert again.codes == [f"{uuid(0)} xid-79"]


async def test_it_is_written_by_itself_and_only_when_something_happened(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with running(rig):
        rig.look()
        await asyncio.to_thread(wait_for, "the file", rig.path.exists, DEADLINE_S)
    await rig.room.flush()
    rig.path.unlink()
    rig.look(100)
    await rig.room.flush()
    assert not rig.path.exists()
    rig.xid(63)
    await rig.room.flush()
    assert json.loads(rig.path.read_text())["gpus"][0]["conditions"][0]["sign"]["code"] == "xid-63"


async def test_what_waits_to_be_written_is_written_before_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with busy_threads() as free, running(rig):
        rig.look(2)
        rig.xid(79)
        await asyncio.sleep(0)  # the saving begins, and waits for a thread
        asyncio.get_running_loop().call_soon(free)  # when it has been told to end
    assert Rig(tmp_path).codes == [f"{uuid(0)} xid-79"]


async def test_a_disk_that_is_full_costs_a_line_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    rig = Rig(tmp_path / "state")
    rig.look(2)
    rig.xid(79)
    await rig.room.flush()
    assert "cannot be written" in caplog.text
    assert rig.codes == [f"{uuid(0)} xid-79"]


async def test_an_admin_ends_what_was_found(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    rig.xid(79, 0)
    rig.xid(79, 1)
    rig.room.clear((uuid(1),))
    assert rig.codes == [f"{uuid(0)} xid-79"]
    rig.room.clear(())
    assert rig.codes == []


async def test_the_log_says_what_begins_and_what_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    with caplog.at_level(logging.INFO):
        rig.xid(79)
        rig.xid(63, 1)
        rig.room.clear(())
    assert caplog.text.count("is failing: XID 79") == 1, "it is said when it begins, and not with each other news"
    assert f"GPU {uuid(0)} is failing: XID 79: GPU has fallen off the bus; reboot the host" in caplog.text
    assert f"GPU {uuid(0)}: over: XID 79" in caplog.text


async def test_a_storm_of_xids_is_one_line_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path)
    rig.look(2)
    for _ in range(500):
        rig.xid(74)
    rig.look(60)
    rig.xid(74)
    assert sum("XID 74 of GPU" in it for it in caplog.messages) == 2
