"""The fake library, compiled once for the modules of this folder."""

from pathlib import Path

import pytest
from rig.nvml.gpus import FakeGpus, compile_library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpus(library: Path) -> FakeGpus:
    return FakeGpus(library.parent)
