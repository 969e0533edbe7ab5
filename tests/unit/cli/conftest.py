"""A fake server of the API for the command line, and the command line itself: in this process, or as a program."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from homeport_cli.main import app
from typer.testing import CliRunner, Result

DEADLINE_S = 30


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith("HOMEPORT_") or name in {"NO_COLOR", "XDG_CONFIG_HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOMEPORT_CONFIG", str(tmp_path / "config" / "config.yml"))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Started, and nobody logged in to it."""
    server = FakeApi(self_signed())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def logged_in(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setenv("HOMEPORT_SERVER", api.address)
    monkeypatch.setenv("HOMEPORT_TOKEN", TOKEN)
    monkeypatch.setenv("HOMEPORT_CA", api.certificate.pem.decode())
    return api


@pytest.fixture
def homeport() -> Callable[..., Result]:
    """The command line in this process: no terminal, nobody to ask."""

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False, **more)

    return run


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The command line as a program of its own; ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(arguments: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-P", "-m", "homeport_cli", *arguments], **{**settings, **more})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=DEADLINE_S)
