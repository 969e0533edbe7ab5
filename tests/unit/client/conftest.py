"""A server of the API whose answers a test writes down, and both clients of it; nothing of the machine's own login."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from fixtures.clients import client
from homeport import Client

Make = Callable[..., AbstractContextManager[Client]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HOMEPORT_") or name == "XDG_CONFIG_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOMEPORT_CONFIG", str(tmp_path / "config" / "config.yml"))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi(self_signed())
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest, api: FakeApi) -> Make:
    """`with make() as calls`: the one client, then the other; logged in to `api` unless the arguments say otherwise."""

    def made(server: str = "", **named: Any) -> AbstractContextManager[Client]:
        given = {"token": TOKEN, "ca": api.certificate.pem.decode(), **named}
        return client(request.param, server or api.address, **given)

    return made


@pytest.fixture
def calls(make: Make) -> Iterator[Client]:
    with make() as made:
        yield made
