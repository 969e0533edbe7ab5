"""issuing/acme_client: what is said when an authority is not there or is none. With a real one: tests/e2e/test_acme.py."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from homeport_control.domain.certificates import CannotIssue
from homeport_control.issuing.acme_client import new_account_key, obtain
from rig.ports import free_port

KEY = new_account_key()


class NoAuthority(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>hello</html>" if self.path == "/page" else b"{}"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
        obtain(directory, "", KEY, "web.example.com", shown)
    assert str(caught.value) == f"the authority at {directory} cannot be reached: no connection"
    assert caught.value.wait_s == 0


@pytest.mark.parametrize("path", ["/page", "/empty"])
def test_what_is_no_authority_is_told(web: str, path: str) -> None:
    with pytest.raises(CannotIssue) as caught:
        obtain(f"{web}{path}", "", KEY, "web.example.com", shown)
    assert "\n" not in str(caught.value)
    assert f"the authority at {web}{path}" in str(caught.value)


def test_an_account_has_a_key_of_its_own() -> None:
    assert KEY.startswith("-----BEGIN PRIVATE KEY-----")
    assert new_account_key() != KEY
