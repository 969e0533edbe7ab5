"""One stack for the tests of a module: real server, agent, Envoy and Docker."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.stack import Stack, stack

IMAGES = Path(__file__).resolve().parents[1] / "rig" / "images" / "build.py"


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    """The tests' images, made on this machine."""
    subprocess.run([sys.executable, str(IMAGES)], check=True, timeout=120)


@pytest.fixture(scope="module")
def homeport(images: None) -> Iterator[Stack]:
    with stack() as made:
        yield made
