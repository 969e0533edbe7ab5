"""The whole process, with a control plane in memory and no Docker: what it says, and how it ends."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes.control import FakeControl, fake_control
from homeport_agent.identity import IdentityStore
from homeport_agent.join import join
from homeport_protos.agent.v1 import agent_pb2

BAR_RSS_MIB = 64
DEADLINE_S = 20.0


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path / "control") as made:
        store = IdentityStore(tmp_path / "state")
        await join(store, f"127.0.0.1:{made.api_port}", made.token, "gpu-1", made.web_port)
        yield made


@asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "HOMEPORT_DOCKER_SOCKET": str(folder / "nosuch.sock")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "homeport_agent", "run", "--state-dir", str(folder / "state")),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def ended(child: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(DEADLINE_S):
        _, log = await child.communicate()
    return child.returncode, log.decode()


async def test_without_docker_it_has_a_session_and_says_why_nothing_runs(control: FakeControl, tmp_path: Path) -> None:
    async with agent(tmp_path) as child:
        session = await control.session()
        hello = await session.next("hello")
        assert hello.facts.hostname == "gpu-1"
        assert re.match(
            r"Docker does not answer at .*nosuch\.sock: .*; start it with: ", hello.facts.docker_unavailable
        )
        session.push(
            assignment=agent_pb2.Assignment(generation=3, replicas=[agent_pb2.AssignedReplica(replica_id="r1")])
        )
        async with asyncio.timeout(DEADLINE_S):
            while (report := await session.next("report")).accepted_generation != 3:
                pass
        assert report.replicas[0].phase == agent_pb2.PHASE_WAITING
        assert "Docker does not answer" in report.replicas[0].message
        child.send_signal(signal.SIGTERM)
        code, log = await ended(child)
        assert code == 0
        assert "stopped by a signal; containers go on" in log
        assert "Traceback" not in log


async def test_what_was_accepted_is_on_disk_and_known_to_the_next_process(control: FakeControl, tmp_path: Path) -> None:
    async with agent(tmp_path) as child:
        session = await control.session()
        env = {"TOKEN": "hunter2"}
        replica = agent_pb2.AssignedReplica(replica_id="r1", env=env)
        session.push(assignment=agent_pb2.Assignment(generation=9, replicas=[replica]))
        async with asyncio.timeout(DEADLINE_S):
            while not (tmp_path / "state" / "journal.json").exists():  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    assert "hunter2" not in (tmp_path / "state" / "journal.json").read_text()
    async with agent(tmp_path) as child:
        session = await control.session()
        hello, report = await session.next("hello"), await session.next("report")
        assert (hello.boot_id, report.accepted_generation, len(report.replicas)) == (report.boot_id, 9, 1)
        child.send_signal(signal.SIGTERM)
        _, log = await ended(child)
        assert "hunter2" not in log


async def test_a_second_agent_on_the_same_state_is_refused(control: FakeControl, tmp_path: Path) -> None:
    async with agent(tmp_path) as first:
        await control.session()
        async with agent(tmp_path) as second:
            code, log = await ended(second)
        assert code == 1
        assert f"another agent runs with {tmp_path / 'state'} (pid {first.pid})" in log


async def test_it_stays_small(control: FakeControl, tmp_path: Path) -> None:
    async with agent(tmp_path) as child:
        session = await control.session()
        for _ in range(5):
            await session.next("report")
        assert rss_mib(child.pid) <= BAR_RSS_MIB


async def test_one_that_was_removed_waits_for_docker_and_forgets_nothing_before(
    control: FakeControl, tmp_path: Path
) -> None:
    control.is_removed = True
    async with agent(tmp_path) as child:
        assert child.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while b"was removed from the fleet" not in await child.stderr.readline():
                pass
        child.send_signal(signal.SIGTERM)
        code, _ = await ended(child)
    assert code == 0
    assert IdentityStore(tmp_path / "state").is_there(), "its containers are not known to be gone"
