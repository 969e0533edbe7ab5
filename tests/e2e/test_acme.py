"""Certificates from a real ACME authority, proved through the gateway itself: got, served, kept; the authority away."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.pebble import Pebble, pebble
from rig.ports import free_port
from rig.stack import Stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

HTTP, HTTPS = free_port(), free_port()
WEB = """
type: service
name: %s
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
gateway: lab
"""


@pytest.fixture(scope="module")
def authority(homeport: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), HTTP) as made:
        homeport.server.stop()
        homeport.server.restart_with({"REQUESTS_CA_BUNDLE": str(made.ca_file)})
        wait_for("the server answers", lambda: homeport.homeport("ps").returncode == 0)
        homeport.ready()
        yield made


def answers(homeport: Stack, name: str, root: str) -> bool:
    """A request with a certificate that was checked."""
    context = ssl.create_default_context(cadata=root)
    with contextlib.suppress(OSError):
        plain = socket.create_connection(("127.0.0.1", HTTPS), timeout=10)
        with context.wrap_socket(plain, server_hostname=f"{name}.acme.localhost") as tls:
            head = f"GET / HTTP/1.1\r\nhost: {name}.acme.localhost\r\nconnection: close\r\n"
            tls.sendall(f"{head}authorization: Bearer {homeport.token}\r\n\r\n".encode())
            return tls.makefile("rb").readline().strip() == b"HTTP/1.1 200 OK"
    return False


def shown(homeport: Stack) -> dict[str, Any]:
    return dict(json.loads(homeport.homeport("gateway", "get", "lab", "--json").stdout))


def test_names_get_certificates_that_their_authority_proved_through_the_gateway(
    homeport: Stack, authority: Pebble
) -> None:
    text = f"type: gateway\nname: lab\ndomain: acme.localhost\nhttp_port: {HTTP}\nhttps_port: {HTTPS}\n"
    text += f"certificate: {{type: acme, directory: '{authority.directory}', email: a@b.org}}\n"
    for document in (text, WEB % "web"):
        done = homeport.apply(document)
        assert done.returncode == 0, done.stderr
    wait_for("HTTPS answers", lambda: answers(homeport, "web", authority.root()))
    assert shown(homeport)["notice"] == ""
    assert get(HTTP, "web.acme", token=homeport.token)[0] == 308


def test_keys_and_the_account_are_sealed_in_the_database(homeport: Stack, authority: Pebble) -> None:
    for file in (Path(homeport.documents).parent / "server").glob("homeport.db*"):
        assert b"PRIVATE KEY" not in file.read_bytes(), file


def test_an_authority_that_is_away_leaves_what_is_there_and_is_told(homeport: Stack, authority: Pebble) -> None:
    root = authority.root()
    authority.stop()
    assert homeport.apply(WEB % "late").returncode == 0
    wait_for("that is told", lambda: "cannot be reached" in shown(homeport)["notice"])
    assert "its certificate for late.acme.localhost: the authority at https://localhost" in shown(homeport)["notice"]
    assert answers(homeport, "web", root)
    assert get(HTTP, "late.acme", token=homeport.token)[0] == 200, "by HTTP until it has one"
    authority.start()
