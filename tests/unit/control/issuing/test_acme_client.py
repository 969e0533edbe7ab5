"""issuing/acme_client: what is said when an authority is not there, is none, or refuses; with a real one, the proof by DNS.

With a gateway, and the proof over HTTP: tests/e2e/test_acme.py.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from homeport_control.domain.certificates import DNS_01, HTTP_01, CannotIssue
from homeport_control.issuing import acme_client, dns_hook
from homeport_control.issuing.acme_client import new_account_key, obtain
from rig.pebble import Pebble, pebble
from rig.ports import free_port

KEY = new_account_key()


class NoAuthority(BaseHTTPRequestHandler):
    """At `/limited/SECONDS` an authority that has had enough of us, in the words of RFC 8555, section 6.6."""

    def do_GET(self) -> None:
        at = f"http://{self.headers['host']}{self.path}"
        resources = {"newNonce": f"{at}/nonce", "newAccount": f"{at}/account", "newOrder": f"{at}/order"}
        known = {
            "/page": "<html>hello</html>",
            "/empty": "{}",
            "/list": "[]",
            "/null": "null",
            "/number": '{"newNonce": 7}',
        }
        self.answer(200, known.get(self.path, json.dumps(resources)))

    def do_HEAD(self) -> None:
        self.answer(200, "", replay_nonce="bm9uY2U")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        problem = {
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": "too many registrations from this address",
        }
        self.answer(429, json.dumps(problem), retry_after=self.path.split("/")[2])

    def answer(self, status: int, body: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), NoAuthority)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def shown(path: str, text: str) -> None:
    raise AssertionError("nothing is to be proved")


def test_one_that_is_not_there_is_told_without_details_of_ours() -> None:
    directory = f"https://127.0.0.1:{free_port()}/dir"
    with pytest.raises(CannotIssue) as caught:
        obtain(directory, "", KEY, "web.example.com", HTTP_01, shown)
    assert str(caught.value) == f"the authority at {directory} cannot be reached: no connection"
    assert caught.value.wait_s == 0


@pytest.mark.parametrize("path", ["/page", "/empty", "/list", "/null", "/number"])
def test_what_is_no_authority_is_told(web: str, path: str) -> None:
    with pytest.raises(CannotIssue) as caught:
        obtain(f"{web}{path}", "", KEY, "web.example.com", HTTP_01, shown)
    assert "\n" not in str(caught.value)
    assert f"the authority at {web}{path}" in str(caught.value)


def test_one_that_takes_the_call_and_says_nothing_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_client, "REQUEST_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        directory = f"http://127.0.0.1:{silent.getsockname()[1]}/dir"
        with pytest.raises(CannotIssue) as caught:
            obtain(directory, "", KEY, "web.example.com", HTTP_01, shown)
    assert str(caught.value) == f"the authority at {directory} cannot be reached: it did not answer within 0.2 s"


def test_an_account_has_a_key_of_its_own() -> None:
    assert KEY.startswith("-----BEGIN PRIVATE KEY-----")
    assert new_account_key() != KEY


@pytest.mark.parametrize(("asked", "wait_s"), [("7200", 7200.0), ("5", 3600.0), ("", 3600.0)])
def test_a_limit_of_the_authority_is_kept_an_hour_or_as_long_as_it_says(web: str, asked: str, wait_s: float) -> None:
    with pytest.raises(CannotIssue) as caught:
        obtain(f"{web}/limited/{asked}", "", KEY, "web.example.com", HTTP_01, shown)
    assert str(caught.value) == "the authority has too many orders of us now: too many registrations from this address"
    assert caught.value.wait_s == wait_s


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pebble]:
    with pebble(tmp_path, 1) as made:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.ca_file))
        yield made


def set_by(hook: Path, records: list[tuple[str, str]]) -> Callable[[str, str], None]:
    def show(record: str, text: str) -> None:
        records.append((record, text))
        dns_hook.call(str(hook), "present", record, text)

    return show


def test_a_wildcard_is_proved_by_the_record_that_a_hook_has_set(authority: Pebble, tmp_path: Path) -> None:
    hook, records = authority.hook(tmp_path / "hook"), list[tuple[str, str]]()
    issued = obtain(authority.directory, "a@b.org", KEY, "*.example.com", DNS_01, set_by(hook, records))
    certificate = x509.load_pem_x509_certificates(issued.chain_pem.encode())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.example.com"]
    assert [record for record, _ in records] == ["_acme-challenge.example.com."]
    assert Path(f"{hook}.calls").read_text() == f"present {records[0][0]} {records[0][1]}\n"


def test_a_record_that_is_not_there_is_told_in_the_authoritys_words(authority: Pebble) -> None:
    with pytest.raises(CannotIssue) as caught:
        obtain(authority.directory, "", KEY, "*.example.com", DNS_01, lambda record, text: None)
    assert str(caught.value).startswith("the authority could not prove that *.example.com is ours: ")
    assert str(caught.value).endswith("; has the hook set the record, and waited until it can be seen?")
    assert "\n" not in str(caught.value)


def test_an_authority_that_refuses_is_told_in_its_words(authority: Pebble) -> None:
    authority.stop()
    authority.blocked = ("example.com",)
    authority.start()
    with pytest.raises(CannotIssue) as caught:
        obtain(authority.directory, "", KEY, "web.example.com", HTTP_01, shown)
    assert str(caught.value).startswith("the authority refused the order: ")
    assert "policy" in str(caught.value)
