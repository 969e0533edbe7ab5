"""`homeport doctor` against a real server: what it finds, what it says of each thing that is broken, and that it ends."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes.api import self_signed
from homeport_cli.errors import CliError
from homeport_cli.programs import lines_of
from rig.lone_server import LoneServer

ENDS_WITHIN_S = 20.0


def findings(server: LoneServer, **environment: str) -> tuple[dict[str, dict[str, str]], int]:
    """The last check of each thing, and the exit code."""
    asked = replace(server, environment={**server.environment, **environment})
    began_s = time.monotonic()
    done = asked.homeport("doctor", "--json")
    assert time.monotonic() - began_s < ENDS_WITHIN_S
    assert "Traceback" not in done.stderr
    return {check["what"]: check for check in json.loads(done.stdout)["checks"]}, done.returncode


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def test_what_works_is_ok_and_a_server_without_hosts_fails_for_its_gateway(server: LoneServer) -> None:
    found, code = findings(server)
    states = {what: check["state"] for what, check in found.items()}
    fine = ("configuration", "server", "certificate", "token", "versions", "clock", "git")
    assert {what: states[what] for what in fine} == dict.fromkeys(fine, "ok")
    assert (states["gateway"], states["hosts"]) == ("fail", "warn")
    assert code == 1


def test_lines_and_objects_say_the_same(server: LoneServer) -> None:
    done = server.homeport("doctor")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == f"ok    server         — 127.0.0.1:{server.api_port} answers"
    assert done.stderr.startswith("Error: 1 of ")


def test_a_token_that_is_not_known_is_what_fails(server: LoneServer) -> None:
    found, code = findings(server, HOMEPORT_TOKEN="hp_wrong")
    assert found["certificate"]["state"] == "ok"
    assert (found["token"]["state"], code) == ("fail", 1)
    assert "homeport login" in found["token"]["why"]


def test_another_ca_is_what_fails(server: LoneServer) -> None:
    found, code = findings(server, HOMEPORT_CA=self_signed("other").pem.decode())
    assert (found["server"]["state"], found["certificate"]["state"], code) == ("ok", "fail", 1)
    assert "token" not in found


def test_a_server_that_is_not_there_is_what_fails(server: LoneServer) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        found, code = findings(server, HOMEPORT_SERVER=f"127.0.0.1:{held.getsockname()[1]}")
    assert (found["server"]["state"], code) == ("fail", 1)
    assert "connection refused" in found["server"]["why"]


def test_a_server_that_says_nothing_does_not_hold_it(server: LoneServer, silent_port: int) -> None:
    found, code = findings(server, HOMEPORT_SERVER=f"127.0.0.1:{silent_port}")
    assert (found["certificate"]["state"], code) == ("fail", 1)


def test_who_is_not_logged_in_is_told_how(server: LoneServer) -> None:
    found, code = findings(server, HOMEPORT_CONFIG="/nowhere/cli.yml")
    assert (found["configuration"]["state"], code) == ("fail", 1)
    assert "homeport login" in found["configuration"]["why"]


def test_a_configuration_that_others_can_read_is_told(server: LoneServer) -> None:
    file = server.folder / "open.yml"
    file.write_text((server.folder / "cli.yml").read_text())
    file.chmod(0o644)
    found, _ = findings(server, HOMEPORT_CONFIG=str(file))
    assert found["configuration"]["state"] == "warn"


# --- of a host ---


def homeport(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "homeport_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_host_is_checked_by_its_agent_and_shown_like_all_else() -> None:
    lines, asked = homeport("doctor", "--host"), homeport("doctor", "--host", "--json")
    found = {check["what"]: check for check in json.loads(asked.stdout)["checks"]}
    assert {"GPUs", "Docker", "clock", "ports"} <= found.keys()
    assert [line[6:19].strip() for line in lines.stdout.splitlines()] == list(found)
    assert asked.returncode == any(check["state"] == "fail" for check in found.values())


def test_a_host_without_docker_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    done = homeport("doctor", "--host")
    assert done.returncode == 1
    assert "fail  Docker         — Docker does not answer at /nowhere/docker.sock" in done.stdout
    assert done.stderr.startswith("Error: 1 of ")


def test_what_the_child_says_of_its_usage_is_not_lost() -> None:
    with pytest.raises(CliError, match="ended with code 2"):
        list(lines_of("homeport_agent", "agent", ["fly"], 20))


def test_a_child_that_does_not_end_is_ended() -> None:
    began_s = time.monotonic()
    with pytest.raises(CliError, match=r"did not end within 0\.2 s"):
        list(lines_of("http.server", "agent", ["--bind", "127.0.0.1", "0"], 0.2))
    assert time.monotonic() - began_s < ENDS_WITHIN_S
