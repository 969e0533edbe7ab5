"""What was called, end to end: the access log by `logs --access`, totals by `usage`, a server that is away meanwhile."""

import http.client
import json
import subprocess
import threading
import time
from typing import Any

import pytest
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

# Answers each POST with a usage, like a model.
SERVER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self): self.answer(b'{}')
    def do_POST(self):
        self.rfile.read(int(self.headers.get('content-length', 0)))
        self.answer(b'{"usage": {"prompt_tokens": 7, "completion_tokens": 5}}')
    def answer(self, body):
        self.send_response(200)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(('', 8000), Handler).serve_forever()
"""
LLM = f"""
type: service
name: llm
image: homeport-test/hello:1
commands:
  - exec python3 -c "$SERVER"
env:
  SERVER: {json.dumps(SERVER)}
port: 8000
model: {{name: [org/llama, llama]}}
"""


def call(homeport: Stack, token: str, model: str = "llama", path: str = "/v1/chat/completions") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", homeport.gateway_port, timeout=10)
    try:
        headers = {"Host": "gateway.localhost", "Authorization": f"Bearer {token}"}
        connection.request("POST", path, json.dumps({"model": model}), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def total(homeport: Stack, *flags: str) -> dict[str, int]:
    answer = json.loads(homeport.homeport("usage", "--json", *flags).stdout)
    return {key: int(answer["total"][key]) for key in ("requests", "prompt_tokens", "completion_tokens")}


@pytest.fixture(scope="module")
def token(homeport: Stack) -> str:
    done = homeport.apply(LLM)
    assert done.returncode == 0, done.stderr
    assert "Model org/llama, llama is published at" in done.stdout
    plain = homeport.homeport("token", "create", "caller", "--role", "service").stdout.strip()
    wait_for("the new token is good", lambda: call(homeport, plain)[0] == 200, 5)
    return plain


def test_requests_and_tokens_are_counted_by_who_called_what(homeport: Stack, token: str) -> None:
    before = wait_for("the first request is counted", lambda: total(homeport, "--by", "token"))
    for model in ("llama", "org/llama", "llama"):
        assert call(homeport, token, model)[0] == 200
    assert call(homeport, token, "none")[0] == 404  # no replica answered it

    def counted() -> bool:
        return total(homeport, "--since", "1h")["requests"] >= before["requests"] + 3

    wait_for("three more are counted", counted, 15)
    now = total(homeport)
    assert now["prompt_tokens"] - before["prompt_tokens"] == 7 * (now["requests"] - before["requests"])
    rows = json.loads(homeport.homeport("usage", "--by", "token,model", "--json").stdout)["rows"]
    assert {(row["token_name"], row["model"]) for row in rows} == {("caller", "llama"), ("caller", "org/llama")}
    table = homeport.homeport("usage").stdout
    assert "caller" in table
    assert "COMPLETION TOKENS" in table
    assert token not in table


def requests_of(homeport: Stack, name: str) -> int:
    """As far as they are counted; -1: the server does not answer."""
    done = homeport.homeport("usage", "--by", "token", "--json")
    if done.returncode != 0:
        return -1
    return sum(int(row["requests"]) for row in json.loads(done.stdout).get("rows", ()) if row["token_name"] == name)


def test_nothing_is_lost_or_counted_twice_while_the_server_is_away(homeport: Stack, token: str) -> None:
    plain = homeport.homeport("token", "create", "away", "--role", "service").stdout.strip()
    wait_for("the new token is good", lambda: call(homeport, plain)[0] == 200, 5)
    wait_for("it is counted", lambda: requests_of(homeport, "away") == 1, 15)
    homeport.server.kill()
    for _ in range(20):
        assert call(homeport, plain)[0] == 200
    homeport.server.start()
    wait_for("all are counted", lambda: requests_of(homeport, "away") >= 21)
    assert call(homeport, plain)[0] == 200
    wait_for("and what came after", lambda: requests_of(homeport, "away") >= 22)
    assert requests_of(homeport, "away") == 22


def test_the_access_log_of_a_service_is_read_and_followed_through_its_host(homeport: Stack, token: str) -> None:
    listed = json.loads(homeport.homeport("token", "list", "--json").stdout)["tokens"]
    caller = next(entry["id"] for entry in listed if entry["name"] == "caller")
    assert call(homeport, token, "org/llama", "/v1/chat/completions?key=topsecret")[0] == 200

    def newest() -> dict[str, Any] | None:
        """Envoy writes it a moment later; what is there until then is of another test."""
        out = homeport.homeport("logs", "llm", "--access", "--tail", "1").stdout
        line = json.loads(out) if out else {}
        return line if (line.get("token"), line.get("model")) == (caller, "org/llama") else None

    line = wait_for("the line is written", newest, 5)
    assert (line["service"], line["status"], line["path"]) == ("llm", 200, "/v1/chat/completions")
    assert (line["prompt_tokens"], line["completion_tokens"], line["method"]) == (7, 5, "POST")
    whole = homeport.homeport("logs", "llm", "--access").stdout
    assert "topsecret" not in whole
    assert token not in whole
    assert line["replica"] in {replica["id"] for replica in homeport.run("llm")["replicas"]}
    assert homeport.homeport("logs", "nothing", "--access").returncode == 1
    assert homeport.homeport("logs", "llm", "--access", "--replica", "0").returncode == 2


def test_a_revoked_token_is_refused_everywhere_within_a_second(homeport: Stack, token: str) -> None:
    plain = homeport.homeport("token", "create", "gone", "--role", "service").stdout.strip()
    wait_for("the new token is good", lambda: call(homeport, plain)[0] == 200, 5)
    last_good_s = 0.0
    stop = threading.Event()

    def keep_calling() -> None:
        nonlocal last_good_s
        while not stop.is_set():
            if call(homeport, plain)[0] == 200:
                last_good_s = time.monotonic()

    caller = threading.Thread(target=keep_calling)
    caller.start()
    revoked: subprocess.CompletedProcess[str] = homeport.homeport("token", "revoke", "gone")
    revoked_s = time.monotonic()
    try:
        wait_for("it is refused", lambda: call(homeport, plain)[0] == 403, 5)
        for path in ("/v1/chat/completions", "/v1/embeddings"):
            assert call(homeport, plain, path=path)[0] == 403
        assert call(homeport, token)[0] == 200
    finally:
        stop.set()
        caller.join()
    assert revoked.returncode == 0
    assert last_good_s - revoked_s < 1.0
