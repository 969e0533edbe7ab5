"""`apply` and `top` on a real terminal, its controlling one: keys are typed, Ctrl-C among them, and what is shown is read.

Covers the prompt, progress that is drawn over, interrupts and exit codes; against a server whose answers stand here.
"""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from homeport_protos.api.v1 import api_pb2

DEADLINE_S = 30.0
CTRL_C, CTRL_D = "\x03", "\x04"
URL = "http://web.localhost:7480"
# The terminal becomes the controlling one, so that Ctrl-C comes as a signal; then the command line takes its place.
START = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-P", "-m", "homeport_cli", *sys.argv[1:]])
"""


def listed(state: str = "provisioning", replica: str = "pulling", **more: object) -> api_pb2.ListRunsResponse:
    one = api_pb2.Replica(id="a", revision=1, host="gpu-1", state=replica, in_rotation="url" in more)
    run = api_pb2.Run(id="1", name="web", state=state, revision=1, replicas_wanted=1, replicas=[one], **more)
    return api_pb2.ListRunsResponse(runs=[run])


STORY = [listed(), listed(replica="starting"), listed("running", "running", url=URL, rolled_out=True)]


@pytest.fixture
def server() -> Iterator[FakeApi]:
    api = FakeApi(self_signed())
    api.start()
    api.answers |= {
        "CheckCode": api_pb2.CheckCodeResponse(code_id="c"),
        "Plan": api_pb2.PlanResponse(run_name="web", action="create", plan_token="new"),
        "Apply": api_pb2.ApplyResponse(run_name="web", run_id="1", revision=1, action="create"),
        "WatchRuns": STORY,
        "StopRuns": api_pb2.StopRunsResponse(stopping=["web"]),
    }
    yield api
    api.stop()


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, server: FakeApi, folder: Path, *flags: str, verb: str = "apply") -> None:
        (folder / "web.homeport.yml").write_text("type: service\nname: web\nimage: a:1\nport: 80\nrepo: false\n")
        self._mine, its = pty.openpty()
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "xterm", "COLUMNS": "100", "LANG": "C.UTF-8",
            "HOMEPORT_SERVER": server.address, "HOMEPORT_TOKEN": TOKEN, "HOMEPORT_CA": server.certificate.pem.decode(),
        }  # fmt: skip
        command = [sys.executable, "-P", "-c", START, verb, *flags]
        streams = {"stdin": its, "stdout": its, "stderr": its}
        self.process = subprocess.Popen(command, **streams, cwd=folder, env=environment, start_new_session=True)
        os.close(its)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until `text` is shown, after what was read before."""
        deadline_s, seen = time.monotonic() + DEADLINE_S, len(self.shown)
        while text not in self.shown[seen:]:
            ready, _, _ = select.select([self._mine], [], [], max(0, deadline_s - time.monotonic()))
            assert ready, f"{text!r} was not shown: {self.shown}"
            try:
                self.shown += os.read(self._mine, 65536).decode()
            except OSError:  # the other end is closed
                raise AssertionError(f"{text!r} was not shown: {self.shown}") from None

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def end(self) -> int:
        """Its exit code; what it showed last is read, for the buffer of a terminal is small."""
        while True:
            ready, _, _ = select.select([self._mine], [], [], DEADLINE_S)
            assert ready, f"it does not end: {self.shown}"
            try:
                self.shown += os.read(self._mine, 65536).decode()
            except OSError:
                break
        assert "Traceback" not in self.shown
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        os.close(self._mine)


@pytest.fixture
def screen(server: FakeApi, tmp_path: Path) -> Iterator[Screen]:
    started = Screen(server, tmp_path)
    yield started
    started.close()


@pytest.mark.parametrize(("keys", "submits"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), (CTRL_D, 0)])
def test_the_answer_decides(screen: Screen, server: FakeApi, keys: str, submits: int) -> None:
    screen.until("Submit the run web? [y/n]: ")
    screen.type(keys)
    screen.until("Service is published at" if submits else "Nothing was submitted.")
    assert screen.end() == 0
    assert len(server.requests("Apply")) == submits


def test_garbage_is_asked_again(screen: Screen, server: FakeApi) -> None:
    for typed in ("", "maybe", "yn"):
        screen.until("Submit the run web? [y/n]: ")
        screen.type(f"{typed}\n")
    screen.until("Submit the run web? [y/n]: ")
    assert server.requests("Apply") == []


def test_ctrl_c_at_the_prompt_submits_nothing(screen: Screen, server: FakeApi) -> None:
    screen.until("Submit the run web? [y/n]: ")
    screen.type(CTRL_C)
    assert screen.end() == 130
    assert server.requests("Apply") == []


def test_progress_is_drawn_over_the_picture_before(screen: Screen) -> None:
    screen.until("Submit the run web? [y/n]: ")
    screen.type("y\n")
    assert screen.end() == 0
    first, second = screen.shown.index("gpu-1: pulling"), screen.shown.index("gpu-1: starting")
    assert first < second
    assert re.search(r"\x1b\[[0-9]*A", screen.shown[first:second]), "the cursor goes up to where the picture began"
    assert f"Service is published at {URL}" in screen.shown


@pytest.mark.parametrize(
    ("keys", "stops", "said"),
    [("y\n", 1, "Stopping web"), ("n\n", 0, "goes on"), (CTRL_C, 0, "goes on"), (CTRL_D, 0, "goes on")],
)
def test_ctrl_c_while_watching_asks(screen: Screen, server: FakeApi, keys: str, stops: int, said: str) -> None:
    server.answers["WatchRuns"] = STORY[:1]
    screen.until("Submit the run web? [y/n]: ")
    screen.type("y\n")
    screen.until("gpu-1: pulling")
    screen.type(CTRL_C)
    screen.until("Stop the run web too? [y/n]: ")
    screen.type(keys)
    screen.until(said)
    assert screen.end() == 130
    assert len(server.requests("StopRuns")) == stops


def test_a_run_that_fails_is_1(screen: Screen, server: FakeApi) -> None:
    server.answers["WatchRuns"] = [listed("failed", "failed", error="it exited with 3", log_tail=["oops"])]
    screen.until("Submit the run web? [y/n]: ")
    screen.type("y\n")
    assert screen.end() == 1
    assert "oops" in screen.shown


def test_without_a_terminal_it_is_2_with_the_sentence_and_with_y_plain_lines(server: FakeApi, tmp_path: Path) -> None:
    Screen(server, tmp_path, "--help").close()  # writes the file
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "xterm", "HOMEPORT_SERVER": server.address,
        "HOMEPORT_TOKEN": TOKEN, "HOMEPORT_CA": server.certificate.pem.decode(),
    }  # fmt: skip

    def run(*flags: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "homeport_cli", "apply", *flags]
        settings = {"cwd": tmp_path, "env": environment, "stdin": subprocess.DEVNULL, "timeout": DEADLINE_S}
        return subprocess.run(command, capture_output=True, text=True, **settings)  # type: ignore[call-overload]

    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: this needs a confirmation and the input is not a terminal: pass -y to confirm" in done.stderr
    assert server.requests("Apply") == []
    done = run("-y")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert f"Service is published at {URL}" in done.stdout
    assert run("--nonsense").returncode == 2


def test_top_draws_over_itself_and_gives_the_screen_back(server: FakeApi, tmp_path: Path) -> None:
    hosts = [api_pb2.Host(name=name, state="idle", connection="connected") for name in ("gpu-1", "gpu-2")]
    server.answers["WatchHosts"] = [api_pb2.ListHostsResponse(hosts=hosts[:1]), api_pb2.ListHostsResponse(hosts=hosts)]
    top = Screen(server, tmp_path, verb="top")
    try:
        top.until("2 hosts")
        assert "gpu-1 (idle)" in top.shown
        top.type(CTRL_C)
        assert top.end() == 130
    finally:
        top.close()
    assert top.shown.index("\x1b[?1049h") < top.shown.index("1 host,") < top.shown.index("\x1b[?1049l")
