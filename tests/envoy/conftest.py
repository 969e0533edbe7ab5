"""A gateway per test, in a short folder: a Unix socket's path may have 107 characters."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig.gateway import Gateway, envoy_binary


@pytest.fixture(scope="session")
def envoy_path() -> Path:
    return envoy_binary()


@pytest.fixture
async def gateway(envoy_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", str(envoy_path))
    with tempfile.TemporaryDirectory(prefix="hp-", dir="/tmp") as folder:
        made = Gateway(Path(folder))
        try:
            await made.start()
            yield made
        finally:
            await made.close()
