"""One stack with a service of two replicas, for all faults that leave it whole: real server, agent, Envoy and Docker."""

import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from faults import measure
from faults.doing import document
from rig.nothing_lost import Stage
from rig.stack import stack

DISK_MIB = 400  # of the server's state, and of the agent's: code is refused when less than 256 MiB stay free
IMAGES = Path(__file__).resolve().parents[1] / "rig" / "images" / "build.py"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        if report.passed:
            measure.record(measure.HELD)
        measure.HELD.clear()
    return report


@pytest.fixture(scope="session")
def images() -> None:
    """The tests' images, made on this machine."""
    subprocess.run([sys.executable, str(IMAGES)], check=True, timeout=120)


@pytest.fixture(scope="session")
def shared(images: None) -> Iterator[Stage]:
    with stack(small_disk_mib=DISK_MIB, small_agent_disk_mib=DISK_MIB) as made:
        stage = Stage(made)
        stage.revision = "first"
        done = made.apply(document(stage), timeout_s=150)
        assert done.returncode == 0, done.stdout + done.stderr
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """Settled: what the fault before broke is whole again."""
    shared.settled()
    return shared
