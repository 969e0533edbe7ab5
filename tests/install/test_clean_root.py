"""install.sh on machines that have nothing: no Python, no Docker, no uv. With systemd as the first process, and without.

Each machine is a minimal Debian in namespaces of its own (rig/machine.py); one minute each, most of it downloads.
"""

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rig.machine import ROOT, SOURCE, Machine, machine, registry_environment

pytestmark = [pytest.mark.slow, pytest.mark.docker]

INSTALL = ("sh", f"{SOURCE}/install.sh")
# The supervisor's and respawner's words of a second run that changed something.
CHANGES = re.compile(r"\b(installed|started|restarted|made|has joined$|logged in now)\b", re.MULTILINE)


@pytest.fixture(scope="module")
def plain() -> Iterator[Machine]:
    with machine("clean-p", 201, "plain") as made:
        yield made


@pytest.fixture(scope="module")
def booted() -> Iterator[Machine]:
    with machine("clean-s", 202, "systemd") as made:
        made.shell("apt-get -qq update && apt-get -qq install -y --no-install-recommends sudo >/dev/null 2>&1")
        made.shell("useradd -m -s /bin/sh ops && echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops")
        yield made


def printed_call(output: str) -> list[str]:
    """The curl line that quickstart ends with, as words."""
    [line] = [line.strip() for line in output.splitlines() if line.startswith("  curl ")]
    return shlex.split(line)


def call(on: Machine, command: list[str], within_s: float = 0) -> subprocess.CompletedProcess[str]:
    """The service's answer; tried again until it is a good one when it is given time."""
    deadline = time.monotonic() + within_s
    while True:
        done = on.run(*command, "-fsS", "-m", "5", check=False)
        if done.returncode == 0 or time.monotonic() > deadline:
            return done


def state(on: Machine) -> dict[str, Any]:
    """What a second run must not change: processes, containers, files that it wrote."""
    return {
        "processes": {pid: line for pid, line in on.processes().items() if "sleep" not in line},
        "containers": on.shell("docker ps -a --no-trunc --format '{{.ID}} {{.CreatedAt}} {{.Names}}'"),
        "files": on.shell(
            "find /opt/homeport /usr/local/bin /etc/systemd /root /home -type f -not -name '*.pyc' -exec sha256sum {} +"
            " | LC_ALL=C sort | sha256sum"
        ),
        "tokens": on.shell("HOMEPORT_CONFIG=/var/lib/homeport/cli.yml homeport token list --json"),
    }


def test_without_systemd_it_serves_repairs_and_leaves_nothing_behind(plain: Machine) -> None:
    before = {
        path: plain.shell(f"ls -A {path}") for path in ("/root", "/opt", "/usr/local/bin", "/var/log", "/var/lib")
    }

    first = plain.run(*INSTALL, "quickstart")
    curl = printed_call(first.stdout)
    assert "Hello from Homeport" in call(plain, curl).stdout
    without_token = plain.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", curl[-1])
    assert without_token.stdout == "401"

    was = state(plain)
    second = plain.run(*INSTALL, "quickstart")
    assert CHANGES.findall(second.stdout) == []
    assert printed_call(second.stdout) == curl
    assert state(plain) == was

    respawners = [pid for pid, line in plain.processes().items() if "homeport-respawn" in line]
    assert len(respawners) == 2
    plain.shell(f"kill -KILL {' '.join(map(str, respawners))}")
    third = plain.run(*INSTALL, "quickstart")
    assert re.search(r"^server +started$", third.stdout, re.MULTILINE), third.stdout
    assert "Hello from Homeport" in call(plain, curl).stdout

    volume = plain.shell(
        'docker volume create --label "homeport.server=$(cat /var/lib/homeport/joined)" homeport-data'
    ).strip()
    removed = plain.run(*INSTALL, "uninstall", "-y")
    assert re.search(r"^containers 1 removed$", removed.stdout, re.MULTILINE), removed.stdout
    assert re.search(rf"^left .*docker volume rm {volume}\s*$", removed.stdout, re.MULTILINE), removed.stdout
    plain.shell(
        f"rm -r /var/lib/docker/volumes/{volume}"
    )  # it was left as it should be; what follows looks for the rest
    assert plain.files("*homeport*") == set()
    assert {line for line in plain.processes().values() if not line.startswith("sleep ")} == set()
    after = {path: plain.shell(f"ls -A {path}") for path in before}
    assert after["/root"] == before["/root"]
    assert after["/usr/local/bin"] == before["/usr/local/bin"]
    assert "nothing of it is here" in plain.run(*INSTALL, "uninstall", "-y").stdout


def test_a_taken_port_is_one_line_and_leaves_nothing_running(plain: Machine) -> None:
    plain.run(*INSTALL, "uninstall", "-y")
    plain.shell("command -v python3 || { apt-get -qq update && apt-get -qq install -y python3 >/dev/null 2>&1; }")
    with plain.start(
        "python3",
        "-c",
        "import socket, time; s = socket.create_server(('127.0.0.1', 7480)); print(1, flush=True); time.sleep(99)",
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()  # the port is open
        refused = plain.run(*INSTALL, "quickstart", check=False)
        holder.kill()
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert "port 7480" in line
    assert "HOMEPORT_GATEWAY_PORT" in line
    assert not any("homeport" in line or "dockerd" in line for line in plain.processes().values())
    assert "uninstalled" in plain.run(*INSTALL, "uninstall", "-y").stdout


def test_with_systemd_a_killed_install_is_repaired_and_a_power_loss_is_survived(booted: Machine) -> None:
    # Called as a user who may use sudo; killed in the middle, when the server has its state and nobody has its token yet.
    as_ops = ("su", "ops", "-c", f"cd /tmp && {registry()} sh {SOURCE}/install.sh quickstart")
    with booted.start(*as_ops) as interrupted:
        assert interrupted.stdout is not None
        said = [interrupted.stdout.readline()]
        while not said[-1].startswith(("homeport ", "install.sh")) and said[-1]:
            said.append(interrupted.stdout.readline())
        running = [pid for pid, line in booted.processes().items() if "install.sh quickstart" in line]
        assert running, "".join(said)
        # One of its short-lived children may have ended since it was seen; the installer itself has not.
        booted.shell(f"kill -KILL {' '.join(map(str, running))} 2>/dev/null || true")
    assert interrupted.returncode != 0, "it was cut off"

    done = booted.run(*as_ops)
    curl = printed_call(done.stdout)
    assert "Hello from Homeport" in call(booted, curl).stdout
    assert "hello" in booted.run("su", "-", "ops", "-c", "homeport ps").stdout
    assert booted.shell("stat -c '%U %a' /home/ops/.config/homeport/config.yml") == "ops 600\n"
    units = booted.shell(
        "systemctl is-enabled homeport-server homeport-agent; systemctl is-active homeport-server homeport-agent"
    )
    assert units.split() == ["enabled", "enabled", "active", "active"]

    booted.power_loss()
    assert "Hello from Homeport" in call(booted, curl, within_s=30).stdout

    booted.run("su", "ops", "-c", f"sh {SOURCE}/install.sh uninstall -y")
    assert booted.files("*homeport*") == set()
    assert booted.shell("docker ps -aq; docker images -q") == ""
    assert not any("homeport" in line or "envoy" in line for line in booted.processes().values())
    assert booted.shell("ls -A /home/ops/.config 2>/dev/null || true") == ""
    assert booted.shell("systemctl is-active docker") == "active\n"  # the distribution's engine is not ours to stop


def registry() -> str:
    return " ".join(shlex.quote(setting) for setting in registry_environment())


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("nonsense",), 2), (("--help",), 0)])
def test_usage_is_shown_and_the_exit_code_says_whether_it_was_asked_for(arguments: tuple[str, ...], code: int) -> None:
    done = subprocess.run([str(ROOT / "install.sh"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "quickstart" in (done.stdout if code == 0 else done.stderr)
