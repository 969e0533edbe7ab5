"""The line of `join-command`, on real machines: systemd, a Docker engine, packages from the registry, nothing of ours yet."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from rig.hosts import SERVER_ADDRESS, Hosts, hosts
from rig.lone_server import LoneServer, lone_server
from rig.machine import Machine
from rig.stack import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

# What grows on any machine that runs: logs, caches of tools that were called, the clock's own file.
NOT_OURS = (
    r"^/(var/(log|cache|lib/(docker|containerd|systemd|apt|dpkg|private))|run|tmp|root/\.(cache|config)|etc/\.updated)"
)


def tell_pip_more(machine: Machine) -> None:
    """One of them has a setting that uv has no words for."""
    if machine.name == "join-2":
        with (machine.root / "etc/pip.conf").open("a") as file:
            file.write("no-build-isolation = true\n")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), ["join-1", "join-2"], 20, tell_pip_more) as made:
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[LoneServer]:
    with lone_server(bind=SERVER_ADDRESS) as made:
        yield made


def join_line(server: LoneServer, *arguments: str) -> str:
    done = server.homeport("fleet", "join-command", "lab", *arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(r"the script has the SHA-256 [0-9a-f]{64}", done.stderr), done.stderr
    return done.stdout.strip()


def run_line(machine: Machine, line: str) -> "subprocess.CompletedProcess[str]":
    return machine.run("su", "-", "ops", "-c", line, check=False)


def host_of(server: LoneServer, name: str) -> dict[str, object]:
    found = json.loads(server.homeport("fleet", "list", "--json").stdout).get("hosts", [])
    return next((host for host in found if host["name"] == name), {})


def files(machine: Machine) -> set[str]:
    listed = machine.shell("find / -xdev -not -path '/proc/*' -not -path '/sys/*' -printf '%y %m %U %G %p\\n'")
    return {line for line in listed.splitlines() if not re.match(NOT_OURS, line.split(" ", 4)[4])}


def test_one_line_makes_a_host_again_it_repairs_and_uninstall_leaves_nothing(
    machines: Hosts, server: LoneServer
) -> None:
    [machine, _] = machines.machines
    before = files(machine)
    passwd = machine.shell("cat /etc/passwd /etc/group")

    done = run_line(machine, join_line(server, "--label", "rack=a"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^connected +the server at 10\.78\.0\.1 has this host now", done.stdout, re.MULTILINE), (
        done.stdout
    )
    assert re.search(r"^agent .* installed in .* \(uv: \d+ s\)$", done.stdout, re.MULTILINE), done.stdout
    wait_for("connected", lambda: host_of(server, "join-1").get("connection") == "connected")
    assert host_of(server, "join-1")["labels"] == {"rack": "a"}

    status = machine.shell("ps -o user:20=,args= -C python; systemctl show homeport-agent -p NoNewPrivileges -p User")
    assert re.search(r"^homeport +/opt/homeport/agent/current/bin/python -P -m homeport_agent", status, re.MULTILINE)
    assert "NoNewPrivileges=yes" in status
    # Docker, disk and kernel log are open to it: nothing that it found is missing.
    assert "docker_version" in json.dumps(host_of(server, "join-1"))

    pid = machine.shell("systemctl show homeport-agent -p MainPID --value")
    again = run_line(machine, join_line(server))
    assert again.returncode == 0, again.stderr
    assert re.search(r"^agent .* is there$", again.stdout, re.MULTILINE), again.stdout
    assert machine.shell("systemctl show homeport-agent -p MainPID --value") == pid, (
        "nothing was wrong, nothing restarted"
    )

    machine.shell("rm -r /opt/homeport/agent/current/lib/python3*/site-packages/grpc; systemctl stop homeport-agent")
    repaired = run_line(machine, join_line(server))
    assert repaired.returncode == 0, repaired.stderr
    assert re.search(r"^agent .* installed in", repaired.stdout, re.MULTILINE), repaired.stdout
    wait_for("connected again", lambda: host_of(server, "join-1").get("connection") == "connected")

    machine.power_loss()
    wait_for("back by itself", lambda: "connected" in machine.shell("ls /var/lib/homeport/agent"), 30)

    removed = machine.run("sh", "/opt/homeport/install.sh", "--uninstall", "-y")
    assert "uninstalled" in removed.stdout
    assert files(machine) == before
    assert machine.shell("cat /etc/passwd /etc/group") == passwd
    assert not any("homeport" in line for line in machine.processes().values())


def test_what_is_wrong_is_said_with_its_fix_and_nothing_is_changed(machines: Hosts, server: LoneServer) -> None:
    [_, machine] = machines.machines
    before = files(machine)
    line = join_line(server)

    token = line.split("--join ")[1].split()[0]
    other = token[:4] + ("0" * 64) + token[68:]
    wrong_ca = run_line(machine, line.replace(token, other))
    assert wrong_ca.returncode == 1
    assert "is not the one that made this token" in wrong_ca.stderr

    pin = re.search(r"sha256//([^ ']+)", line)
    assert pin is not None
    wrong_key = run_line(machine, line.replace(pin[1], "A" * 43 + "="))
    assert "installed" not in wrong_key.stdout, "the script of another server is never run"

    nobody = run_line(machine, line.replace(f"--server {server.address}", "--server 10.78.0.1:9"))
    assert nobody.returncode == 1
    assert "port 9 of 10.78.0.1 cannot be reached (refused); fix:" in nobody.stderr

    machine.shell("systemctl stop docker.socket docker.service && mv /usr/sbin/dockerd /usr/sbin/dockerd.away")
    machine.shell("mv /usr/bin/apt-get /usr/bin/apt-get.away")
    without = run_line(machine, line)
    machine.shell("mv /usr/sbin/dockerd.away /usr/sbin/dockerd; mv /usr/bin/apt-get.away /usr/bin/apt-get")
    assert without.returncode == 1
    assert re.search(r"^docker +FAILED: there is no engine.*; fix: install Docker Engine", without.stderr, re.MULTILINE)
    assert "nothing was changed" in without.stderr
    assert files(machine) == before

    machine.shell(
        "systemctl start docker.service; for it in python3.11 apt-get; do mv /usr/bin/$it /usr/bin/$it.away; done"
    )
    mirror = "UV_PYTHON_INSTALL_MIRROR=http://127.0.0.1:9 UV_HTTP_RETRIES=0"
    too_old = run_line(machine, line.replace("sudo sh", f"sudo env {mirror} sh"))
    machine.shell("for it in python3.11 apt-get; do mv /usr/bin/$it.away /usr/bin/$it; done")
    assert re.search(
        r"no Python 3\.11 or newer, and uv could not bring one \(http://127\.0\.0\.1:9/\S+: .*refused.*\); install python3\.11",
        too_old.stderr,
    ), too_old.stderr
    assert files(machine) == before
    machine.shell("systemctl stop docker.socket docker.service")

    spent = join_line(server, "--one-use")
    started = run_line(machine, spent)  # and the engine that was stopped is started
    assert started.returncode == 0, started.stdout + started.stderr
    assert re.search(r"^agent .* installed in .* \(pip: \d+ s\)$", started.stdout, re.MULTILINE), "its pip.conf counts"
    stolen = machines.machines[0].run("su", "-", "ops", "-c", spent, check=False)
    assert stolen.returncode == 1
    assert "the join token" in stolen.stderr
    assert "fleet join-command" in stolen.stderr
