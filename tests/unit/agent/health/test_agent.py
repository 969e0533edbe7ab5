"""The whole agent over the fake driver: what its GPUs' driver tells is told to the server, and proved to be over.

With a control plane in memory, the real sampler, and the real check over the fake libcuda.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes.control import FakeControl, Session, fake_control
from homeport_agent.identity import IdentityStore
from homeport_agent.join import join
from homeport_protos.agent.v1 import agent_pb2
from rig.cuda.library import compile_library as compile_cuda
from rig.nvml.gpus import FakeGpus
from rig.nvml.gpus import compile_library as compile_nvml

DEADLINE_S = 30.0
BAR_XID_S = 2.0  # from the driver's word to the server's ear; the cordon is one write after it


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    compile_nvml(folder)
    compile_cuda(folder)
    return folder


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path / "control") as made:
        store = IdentityStore(tmp_path / "state")
        await join(store, f"127.0.0.1:{made.api_port}", made.token, "gpu-1", made.web_port)
        yield made


@asynccontextmanager
async def agent(folder: Path, libraries: Path, gpus: FakeGpus) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "HOMEPORT_DOCKER_SOCKET": str(folder / "nosuch.sock"),
        "LD_LIBRARY_PATH": str(libraries),
        "FAKE_NVML": str(gpus.path),
    }
    with (folder / "agent.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "homeport_agent", "run", "--state-dir", str(folder / "state")),
            env=environment,
            stderr=log,
        )
    try:
        yield child
    finally:
        child.terminate()
        await child.wait()


async def told(session: Session, holds: Callable[[list[str]], bool]) -> list[str]:
    """The findings of GPUs, as the server hears them, once they are so."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            report: agent_pb2.Report = await session.next("report")
            if not report.HasField("findings"):
                continue
            codes = [f"{it.gpu_uuid} {it.code} {it.severity}" for it in report.findings.findings if it.gpu_uuid]
            if holds(codes):
                return codes


async def test_an_xid_is_told_within_two_seconds_and_a_check_ends_it(
    control: FakeControl, libraries: Path, tmp_path: Path
) -> None:
    gpus = FakeGpus(tmp_path, count=2)
    async with agent(tmp_path, libraries, gpus):
        session = await control.session()
        hello = await session.next("hello")
        assert [it.uuid for it in hello.facts.gpus] == [gpus.uuid(0), gpus.uuid(1)]
        await told(session, lambda codes: codes == [])
        began_s = time.monotonic()
        gpus.xid(1, 119)
        assert await told(session, bool) == [f"{gpus.uuid(1)} xid-119 failing"]
        assert time.monotonic() - began_s < BAR_XID_S
        await told(session, lambda codes: codes == [])
    log = (tmp_path / "agent.log").read_text()
    assert f"check of GPU {gpus.uuid(1)}: passed: it opened a context and computed" in log


async def test_a_gpu_that_fell_off_the_bus_is_listed_and_failing_after_a_restart(
    control: FakeControl, libraries: Path, tmp_path: Path
) -> None:
    gpus = FakeGpus(tmp_path, count=2)
    async with agent(tmp_path, libraries, gpus):
        session = await control.session()
        await session.next("hello")
        await told(session, lambda codes: codes == [])
        gpus.set(gpu1__lost=1)
        assert await told(session, bool) == [f"{gpus.uuid(1)} gpu-lost failing"]
    gpus.set(count=1, gpu1__lost=None)  # after a reboot the driver does not even list it
    async with agent(tmp_path, libraries, gpus):
        session = await control.session()
        hello = await session.next("hello")
        assert [it.uuid for it in hello.facts.gpus] == [gpus.uuid(0), gpus.uuid(1)]
        assert f"{gpus.uuid(1)} gpu-lost failing" in await told(session, bool)


async def test_an_admins_word_ends_what_was_found(control: FakeControl, libraries: Path, tmp_path: Path) -> None:
    gpus = FakeGpus(tmp_path, count=2)
    gpus.set(error__cuInit=999)
    async with agent(tmp_path, libraries, gpus):
        session = await control.session()
        await session.next("hello")
        await told(session, lambda codes: codes == [])
        gpus.xid(0, 79)
        await told(session, bool)
        session.push(clear_findings=agent_pb2.ClearFindings(gpu_uuids=[gpus.uuid(0)]))
        await told(session, lambda codes: codes == [])


async def test_a_wrong_table_of_xids_is_one_line(control: FakeControl, libraries: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "xids.toml").write_text("[63]\nseverity = 7\n")
    async with agent(tmp_path, libraries, FakeGpus(tmp_path)):
        await (await control.session()).next("hello")
    lines = [it for it in (tmp_path / "agent.log").read_text().splitlines() if "xids.toml" in it]
    assert len(lines) == 1
    assert "[63] severity must be one line of text; the built-in one is used whole" in lines[0]
