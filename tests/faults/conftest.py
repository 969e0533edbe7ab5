"""One stack with a service of two replicas, for all faults that leave it whole: real server, agent, Envoy and Docker."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.nothing_lost import SERVER_FLAGS, Stage
from rig.stack import stack

IMAGES = Path(__file__).resolve().parents[1] / "rig" / "images" / "build.py"


@pytest.fixture(scope="session")
def images() -> None:
    """The tests' images, made on this machine."""
    subprocess.run([sys.executable, str(IMAGES)], check=True, timeout=120)


@pytest.fixture(scope="session")
def shared(images: None) -> Iterator[Stage]:
    with stack(server_flags=SERVER_FLAGS) as made:
        stage = Stage(made)
        stage.apply()
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """Settled: what the fault before broke is whole again."""
    shared.settled()
    return shared
