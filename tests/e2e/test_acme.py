"""Certificates from a real ACME authority: proved through the gateway itself, got, served, kept; the authority away; and
proved by a hook that sets DNS records.

One stack, one story in its order.
"""

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
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


def gateway(authority: Pebble, domain: str = "acme.localhost", proof: str = "") -> str:
    text = f"type: gateway\nname: lab\ndomain: {domain}\nhttp_port: {HTTP}\nhttps_port: {HTTPS}\n"
    return f"{text}certificate: {{type: acme, directory: '{authority.directory}', email: a@b.org{proof}}}\n"


def connected(name: str, root: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=root)
    plain = socket.create_connection(("127.0.0.1", HTTPS), timeout=10)
    return context.wrap_socket(plain, server_hostname=f"{name}.acme.localhost")


def certified(name: str, root: str) -> tuple[str, ...]:
    """The names in the certificate that is shown for this one; nothing when it is not to be trusted."""
    with contextlib.suppress(OSError), connected(name, root) as tls:
        shown = tls.getpeercert() or {}
        return tuple(str(value) for _, value in shown.get("subjectAltName", ()))
    return ()


def answers(homeport: Stack, name: str, root: str) -> bool:
    """A request with a certificate that was checked."""
    with contextlib.suppress(OSError), connected(name, root) as tls:
        head = f"GET / HTTP/1.1\r\nhost: {name}.acme.localhost\r\nconnection: close\r\n"
        tls.sendall(f"{head}authorization: Bearer {homeport.token}\r\n\r\n".encode())
        return tls.makefile("rb").readline().strip() == b"HTTP/1.1 200 OK"
    return False


def shown(homeport: Stack) -> dict[str, Any]:
    return dict(json.loads(homeport.homeport("gateway", "get", "lab", "--json").stdout))


def test_names_get_certificates_that_their_authority_proved_through_the_gateway(
    homeport: Stack, authority: Pebble
) -> None:
    for document in (gateway(authority), WEB % "web"):
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


def said(homeport: Stack, look: Callable[[], bool]) -> None:
    """Until it is so; else with what the gateway says of itself."""
    try:
        wait_for("the certificate is served", look)
    except AssertionError as error:
        raise AssertionError(f"{error}: {shown(homeport)}") from None


def test_by_dns_one_wildcard_serves_all_names_and_those_that_come_later(
    homeport: Stack, authority: Pebble, tmp_path: Path
) -> None:
    hook, root = authority.hook(tmp_path / "hook"), authority.root()
    calls = Path(f"{hook}.calls")
    done = homeport.apply(gateway(authority, proof=f", challenge: dns-01, hook: {hook}"))
    assert done.returncode == 0, done.stderr
    for name in ("web", "late", "gateway"):
        said(homeport, lambda name=name: certified(name, root) == ("*.acme.localhost",))
    assert answers(homeport, "late", root)
    made = calls.read_text().splitlines()
    assert [line.split()[:2] for line in made] == [
        ["present", "_acme-challenge.acme.localhost."],
        ["cleanup", "_acme-challenge.acme.localhost."],
    ]
    assert homeport.apply(WEB % "later").returncode == 0
    wait_for("it serves by HTTPS", lambda: answers(homeport, "later", root))
    assert calls.read_text().splitlines() == made, "without another proof"
    assert shown(homeport)["notice"] == ""


def test_a_hook_that_fails_is_told_in_the_list_and_what_is_there_is_served_on(
    homeport: Stack, authority: Pebble, tmp_path: Path
) -> None:
    hook, root = tmp_path / "hook", authority.root()
    hook.write_text("#!/bin/sh\necho no such zone\nexit 1\n")
    hook.chmod(0o755)
    done = homeport.apply(gateway(authority, domain="next.localhost", proof=f", challenge: dns-01, hook: {hook}"))
    assert done.returncode == 0, done.stderr
    why = f"its certificate for *.next.localhost: the hook {hook} present failed with status 1: no such zone"
    wait_for("that is told", lambda: why in homeport.homeport("gateway", "list", "--json").stdout)
    done = homeport.apply(gateway(authority, proof=f", challenge: dns-01, hook: {hook}"))
    assert done.returncode == 0, done.stderr
    said(homeport, lambda: answers(homeport, "web", root))
    wait_for("and nothing is wrong", lambda: shown(homeport)["notice"] == "")
