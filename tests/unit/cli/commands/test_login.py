import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.api import TOKEN, FakeApi
from fakes.web import Web
from homeport import config
from homeport_cli import trust
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


@pytest.fixture
def server(api: FakeApi) -> FakeApi:
    api.answers["GetServer"] = api_pb2.GetServerResponse(user="ann", role="admin")
    return api


@pytest.fixture
def web(server: FakeApi, tmp_path: Path) -> Iterator[Web]:
    made = Web(server.certificate, tmp_path)
    yield made
    made.close()


@pytest.fixture
def flags(server: FakeApi, web: Web) -> list[str]:
    return ["login", "--server", server.address, "--token", TOKEN, "--web-port", str(web.port)]


def saved() -> config.Config:
    return config.load(os.environ)


def nothing_saved() -> bool:
    return not config.path(os.environ).exists()


def test_login_with_a_ca_file_verifies_both_and_saves(server: FakeApi, homeport: Homeport, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(server.certificate.pem)
    done = homeport(
        "login", "--server", server.address, "--token", "-", "--ca", str(tmp_path / "ca.pem"), input=f"{TOKEN}\n"
    )
    assert done.exit_code == 0, done.stderr
    assert "as ann (admin)" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert saved() == config.Config(server.address, TOKEN, server.certificate.pem.decode())


def test_login_with_the_cas_hash_downloads_it(server: FakeApi, homeport: Homeport, flags: list[str]) -> None:
    pem = server.certificate.pem.decode()
    done = homeport(*flags, "--ca-hash", trust.fingerprint(pem))
    assert done.exit_code == 0, done.stderr
    assert saved().ca_pem == pem


def test_another_hash_ends_before_the_token_is_sent(server: FakeApi, homeport: Homeport, flags: list[str]) -> None:
    done = homeport(*flags, "--ca-hash", "0" * 64)
    assert done.exit_code == 1
    assert "another CA certificate" in done.stderr
    assert server.asked == []
    assert nothing_saved()


def test_without_ca_and_terminal_trust_needs_y(server: FakeApi, homeport: Homeport, flags: list[str]) -> None:
    done = homeport(*flags)
    assert done.exit_code == 2
    assert "pass -y" in done.stderr
    assert server.asked == []
    assert homeport(*flags, "-y").exit_code == 0
    assert saved().server == server.address


def test_a_wrong_token_saves_nothing(server: FakeApi, homeport: Homeport, flags: list[str]) -> None:
    flags[flags.index(TOKEN)] = "hp_wrong"
    done = homeport(*flags, "-y")
    assert done.exit_code == 1
    assert "hp_wrong" not in done.stderr
    assert nothing_saved()


@pytest.mark.parametrize("token", ["", " ", "hp\nx", "h\u00e9"])
def test_what_is_no_token_never_reaches_the_wire(
    server: FakeApi, homeport: Homeport, flags: list[str], token: str
) -> None:
    flags[flags.index(TOKEN)] = token
    assert homeport(*flags, "-y").exit_code == 2
    assert server.asked == []


def test_without_a_token_and_a_terminal_it_says_which_flags(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("login", "--server", server.address, "--ca", "nowhere")
    assert done.exit_code == 1
    assert "cannot read the CA certificate" in done.stderr


def test_two_ways_to_trust_are_one_too_many(homeport: Homeport) -> None:
    assert homeport("login", "--server", "x", "--ca", "a", "--ca-hash", "b").exit_code == 2
