"""Completion as a shell does it: bash reads our script, and asks the program at each press of the key."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from homeport_cli.main import VERBS
from homeport_protos.api.v1 import api_pb2

PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"
# What readline does: the words so far, which of them is being typed, the function of the program's name.
PRESS_TAB = """
source <(homeport completion bash)
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_homeport_completion homeport
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def api():
    server = FakeApi(self_signed())
    server.start()
    names = ("web", "web-2", "api")
    server.answers["ListRuns"] = api_pb2.ListRunsResponse(runs=[api_pb2.Run(name=name) for name in names])
    yield server
    server.stop()


def completed(words: str, api: FakeApi | None = None, token: str = TOKEN, **more: str) -> list[str]:
    """What bash offers for `homeport WORDS`; the last word is the one that is being typed, '' for a new one."""
    environment = {"PATH": PATH, "HOME": "/nowhere", "LANG": "C.UTF-8", "HOMEPORT_CONFIG": "/nowhere/cli.yml", **more}
    if api is not None:
        environment |= {
            "HOMEPORT_SERVER": api.address,
            "HOMEPORT_TOKEN": token,
            "HOMEPORT_CA": api.certificate.pem.decode(),
        }
    script = PRESS_TAB.format(words=f"homeport {words}")
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.splitlines()))


def test_verbs_and_their_own_verbs_are_completed() -> None:
    assert completed("st") == ["stop"]
    assert {"apply", "ps", "doctor", "completion"} <= set(completed("''"))
    assert completed("fleet g") == ["get"]
    assert completed("completion b") == ["bash"]


def test_flags_are_completed() -> None:
    assert completed("ps --v") == ["--verbose"]
    assert "--gpu" in completed("offer --")


def test_names_of_runs_are_completed_where_a_run_is_meant(api: FakeApi) -> None:
    assert completed("stop we", api) == ["web", "web-2"]
    assert completed("stop web ap", api) == ["api"]
    assert completed("logs ''", api) == ["api", "web", "web-2"]


@pytest.mark.parametrize("verb", sorted({"stop", "logs", "attach", "metrics"} & set(VERBS)))
def test_every_verb_about_runs_knows_their_names(api: FakeApi, verb: str) -> None:
    assert completed(f"{verb} a", api) == ["api"]


def test_nothing_is_offered_and_nothing_said_when_the_server_does_not_tell(api: FakeApi) -> None:
    assert completed("stop we") == []  # nobody is logged in
    assert completed("stop we", api, token="hp_wrong") == []
    address = api.address
    api.stop()
    assert completed("stop we", api, HOMEPORT_SERVER=address) == []


def test_a_server_that_says_nothing_is_given_up_soon(api: FakeApi) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(4)
        api.port = silent.getsockname()[1]
        began_s = time.monotonic()
        assert completed("stop we", api) == []
        assert time.monotonic() - began_s < 4


@pytest.mark.parametrize(
    ("shell", "marks"), [("zsh", ["#compdef homeport", "compdef "]), ("fish", ["complete --command"])]
)
def test_the_other_shells_get_their_scripts(shell: str, marks: list[str]) -> None:
    command = [sys.executable, "-P", "-m", "homeport_cli", "completion", shell]
    script = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert all(mark in script for mark in marks)
    assert "_HOMEPORT_COMPLETE=complete_" + shell in script
