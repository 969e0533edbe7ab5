"""HTTPS from a file to a handshake: a gateway's own CA, a pair in files that is replaced, what is sent on, what is plain; and
HTTP/3 beside it.

One stack, one story in its order.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from homeport_control.trust import gateway_ca
from rig.http3 import http3
from rig.ports import free_port
from rig.stack import Stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: %s
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
gateway: lab
https: %s
"""
HTTP, HTTPS = free_port(), free_port()


def gateway(certificate: str) -> str:
    return (
        f"type: gateway\nname: lab\ndomain: lab.localhost\nhttp_port: {HTTP}\nhttps_port: {HTTPS}\n"
        f"certificate: {certificate}\n"
    )


def applied(homeport: Stack, text: str) -> str:
    done = homeport.apply(text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(homeport: Stack) -> dict[str, Any]:
    return dict(json.loads(homeport.homeport("gateway", "get", "lab", "--json").stdout))


def connected(name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """With the name in the hello; not every machine resolves names under localhost."""
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", HTTPS), timeout=10), server_hostname=f"{name}.lab.localhost"
    )


def call(homeport: Stack, name: str, ca_pem: str) -> str:
    """The first line of the answer to a request whose certificate was checked."""
    with connected(name, ssl.create_default_context(cadata=ca_pem)) as tls:
        head = f"GET / HTTP/1.1\r\nhost: {name}.lab.localhost:{HTTPS}\r\nconnection: close\r\n"
        tls.sendall(f"{head}authorization: Bearer {homeport.token}\r\n\r\n".encode())
        return tls.makefile("rb").readline().decode().strip()


def answers(homeport: Stack, name: str, ca_pem: str) -> bool:
    with contextlib.suppress(OSError):
        return call(homeport, name, ca_pem) == "HTTP/1.1 200 OK"
    return False


def serial(name: str) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(name, context) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_a_service_is_called_by_https_with_the_gateways_own_ca(homeport: Stack) -> None:
    said = applied(homeport, gateway("self-signed"))
    assert said == f"Gateway lab is ready: services are published at https://NAME.lab.localhost:{HTTPS}\n"
    said = applied(homeport, WEB % ("web", "auto"))
    assert f"Service is published at https://web.lab.localhost:{HTTPS}" in said
    ca = homeport.homeport("gateway", "ca", "lab")
    assert ca.returncode == 0, ca.stderr
    wait_for("HTTPS answers", lambda: answers(homeport, "web", ca.stdout))
    status, headers, _ = get(HTTP, "web.lab", "/x")
    assert (status, headers["location"]) == (308, f"https://web.lab.localhost:{HTTPS}/x")


def test_a_service_may_be_plain_or_nothing_but_https(homeport: Stack) -> None:
    assert f"http://open.lab.localhost:{HTTP}" in applied(homeport, WEB % ("open", "false"))
    assert get(HTTP, "open.lab", token=homeport.token)[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        serial("open")
    assert f"https://only.lab.localhost:{HTTPS}" in applied(homeport, WEB % ("only", "true"))
    assert get(HTTP, "only.lab", token=homeport.token)[0] == 308
    done = homeport.apply((WEB % ("bad", "true")).replace("gateway: lab", "gateway: local"))
    assert done.returncode == 2
    assert "https: the gateway `local` has no certificate" in done.stderr


def test_keys_are_sealed_in_the_database(homeport: Stack) -> None:
    state = Path(homeport.documents).parent / "server"
    assert (state / "homeport.db").exists()
    for file in state.glob("homeport.db*"):
        assert b"PRIVATE KEY" not in file.read_bytes(), file


def test_http3_is_turned_on_by_the_file_and_serves_the_same(homeport: Stack) -> None:
    ca_pem, host = homeport.homeport("gateway", "ca", "lab").stdout, "web.lab.localhost"
    applied(homeport, gateway("self-signed") + "http3: true\n")
    assert shown(homeport)["listens"].endswith(", HTTP/3 by UDP")

    async def ask() -> tuple[int, str]:
        async with http3(HTTPS, host, ca_pem.encode(), connect_s=2) as client:
            answer = await client.ask(f"{host}:{HTTPS}", "/", homeport.token)
            return answer.status, answer.headers["alt-svc"]

    def asked() -> tuple[int, str] | None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            return asyncio.run(ask())
        return None

    assert wait_for("HTTP/3 answers", asked) == (200, f'h3=":{HTTPS}"; ma=3600')
    applied(homeport, gateway("self-signed"))
    assert answers(homeport, "web", ca_pem)


def write_pair(folder: Path, ca: Any, days_ago: int = 0) -> int:
    pair = gateway_ca.issue(ca, "web.lab.localhost", time.time() - days_ago * 86400)
    for name, content in (("cert.pem", pair.certificate_pem), ("key.pem", pair.key_pem)):
        (folder / f"{name}.new").write_bytes(content)
        os.replace(folder / f"{name}.new", folder / name)
    return x509.load_pem_x509_certificate(pair.certificate_pem).serial_number


def test_a_pair_in_files_is_swapped_within_seconds_of_its_change(homeport: Stack, tmp_path: Path) -> None:
    ca = gateway_ca.new_ca("elsewhere", time.time())
    first = write_pair(tmp_path, ca)
    applied(homeport, gateway(f"{{type: files, cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}"))
    wait_for("the file's pair is served", lambda: serial("web") == first)
    assert answers(homeport, "web", ca.certificate_pem.decode())
    second, began_s = write_pair(tmp_path, ca), time.monotonic()
    wait_for("the new one is", lambda: serial("web") == second)
    assert time.monotonic() - began_s < 8

    (tmp_path / "key.pem").write_text("broken")
    wait_for("that is told", lambda: "the key is not PEM" in shown(homeport).get("notice", ""))
    assert serial("web") == second
    old = write_pair(tmp_path, ca, days_ago=100)
    wait_for("an expired one is told too", lambda: "has expired" in shown(homeport).get("notice", ""))
    assert serial("web") == old
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        call(homeport, "web", ca.certificate_pem.decode())


def test_certificates_go_on_while_the_server_is_away_and_after_it_is_back(homeport: Stack) -> None:
    before = serial("web")
    homeport.server.kill()
    assert serial("web") == before
    homeport.server.start()
    wait_for("the server answers", lambda: homeport.homeport("gateway", "list").returncode == 0)
    wait_for("its gateway is ready", lambda: shown(homeport).get("ready"))
    assert serial("web") == before
