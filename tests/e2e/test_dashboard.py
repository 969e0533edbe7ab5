"""The dashboard of a whole Homeport: a model is talked to through its gateway, and the answer streams onto the page."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]
CHROMIUM = os.environ.get("HOMEPORT_CHROMIUM", "/usr/bin/chromium")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "llm-cpu"
BUILD_S = 600

# Streams what it was asked, word by word, as a model does; after "halt" it waits for a POST to /go.
SERVER = """
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
go = threading.Event()
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self): self.whole(b'{}')
    def whole(self, body):
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get('content-length', 0)))
        if self.path == '/go':
            go.set()
            return self.whole(b'{}')
        said = json.loads(asked)['messages'][-1]['content']
        self.send_response(200)
        self.send_header('content-type', 'text/event-stream')
        self.send_header('connection', 'close')
        self.end_headers()
        for word in ['You', ' said: ', *said.split()]:
            if word == 'halt': go.wait(30)
            self.piece({'choices': [{'delta': {'content': word}}]})
        self.wfile.write(b'data: [DONE]\\n\\n')
        self.close_connection = True
    def piece(self, what):
        self.wfile.write(b'data: ' + json.dumps(what).encode() + b'\\n\\n')
        self.wfile.flush()
    def log_message(self, *_): pass
ThreadingHTTPServer(('', 8000), Handler).serve_forever()
"""
LLM = f"""
type: service
name: parrot
image: homeport-test/hello:1
commands:
  - exec python3 -c "$SERVER"
env:
  SERVER: {json.dumps(SERVER)}
port: 8000
model: polly
"""


@contextmanager
def logged_in(homeport: Stack) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(20_000)
        wrong: list[str] = []
        page = context.new_page()
        page.on("console", lambda it: wrong.append(it.text) if it.type == "error" else None)
        page.goto(f"https://127.0.0.1:{homeport.web_port}/")
        page.get_by_label("Token").fill(homeport.token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="test-host", exact=True)).to_be_visible()
        yield page
        browser.close()
    assert [it for it in wrong if "ERR_NETWORK_CHANGED" not in it] == []


def say(page: Page, words: str) -> None:
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")


def test_a_model_answers_on_the_page_as_it_speaks(homeport: Stack) -> None:
    done = homeport.apply(LLM)
    assert done.returncode == 0, done.stderr
    with logged_in(homeport) as page:
        page.get_by_role("link", name="Services").click()
        page.get_by_role("link", name="Chat with parrot").click()
        answers = page.locator(".model-says")
        say(page, "hello halt world")
        expect(answers.last).to_have_text("You said: hello", timeout=30_000)
        token = homeport.homeport("token", "create", "go", "--role", "service").stdout.strip()
        go = ["curl", "-fsS", "-X", "POST", "-d", "", "-H", f"Authorization: Bearer {token}"]
        go += ["-H", f"Host: parrot.localhost:{homeport.gateway_port}", f"http://127.0.0.1:{homeport.gateway_port}/go"]
        wait_for(
            "the gateway knows the token", lambda: subprocess.run(go, check=False, capture_output=True).returncode == 0
        )
        expect(answers.last).to_have_text("You said: hellohaltworld")
        expect(page.locator("#chat-state")).to_contain_text("Answered in")
        say(page, "<b>again</b>")
        expect(answers.nth(1)).to_have_text("You said: <b>again</b>")
        page.goto(f"https://127.0.0.1:{homeport.web_port}/services/parrot?show=requests")
        expect(page.get_by_role("log")).to_contain_text("POST  /v1/chat/completions")
        made = json.loads(homeport.homeport("token", "list", "--json").stdout)["tokens"]
        (mine,) = [it["id"] for it in made if it["name"].startswith("playground-")]
        expect(page.get_by_role("log")).to_contain_text(f"token {mine}")


@pytest.mark.nightly
def test_a_real_model_talks_on_the_page(homeport: Stack) -> None:
    built = subprocess.run(
        [EXAMPLE / "build-image.sh"], env={**os.environ, "PYTHON": "/usr/bin/python3"}, capture_output=True, text=True,
        timeout=BUILD_S, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    done = homeport.apply((EXAMPLE / "llm.homeport.yml").read_text())
    assert done.returncode == 0, done.stderr
    with logged_in(homeport) as page:
        page.goto(f"https://127.0.0.1:{homeport.web_port}/playground?service=llm")
        say(page, "What is a harbour?")
        expect(page.locator("#chat-state")).to_contain_text("Answered in", timeout=120_000)
        assert len((page.locator(".model-says").last.text_content() or "").split()) > 3
