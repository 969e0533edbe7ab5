"""A gateway on a machine of its own over SSH, one that has no Docker: made, used, left alone, repaired, moved, deleted.

One story in its order; the service that it publishes runs on a third machine.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from rig.hosts import USER, Hosts, hosts, stack_for_hosts
from rig.machine import Machine
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.envoy]

EDGE, OTHER, FAR = "edge-1", "edge-2", "edge-far"
IMAGE = "homeport-test/hello:1"
KEYS = f"home/{USER}/.ssh/authorized_keys"
WEB = {
    "type": "service", "name": "web", "image": IMAGE, "commands": ["exec python3 /hello.py"], "port": 8000,
    "gateway": "edge", "https": False, "resources": {"memory": "64MB.."},
}  # fmt: skip


def prepare(machine: Machine) -> None:
    if machine.name != FAR:
        for path in ("usr/sbin/dockerd", "usr/bin/apt-get", "lib/systemd/system/docker.socket"):
            (machine.root / path).unlink()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), (EDGE, OTHER, FAR), 150, prepare) as made:
        made.machines[2].load_image(IMAGE)
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[Stack]:
    with stack_for_hosts() as made:
        line = made.homeport("fleet", "join-command", "lab").stdout.strip()
        joined = machines.machines[2].run("su", "-", USER, "-c", line, check=False)
        assert joined.returncode == 0, joined.stdout + joined.stderr
        yield made


def apply(
    server: Stack, machines: Hosts, machine: Machine, *flags: str, **more: Any
) -> "subprocess.CompletedProcess[str]":
    host = {"hostname": machine.address, "user": USER, "identity_file": str(machines.key)}
    document = {"type": "gateway", "name": "edge", "domain": "edge.test", "certificate": None, "host": host, **more}
    return server.apply(yaml.safe_dump(document), *flags, timeout_s=240)


def shown(server: Stack) -> dict[str, Any]:
    done = server.homeport("gateway", "get", "edge", "--json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def call(machine: Machine, token: str = "") -> str:
    """As a user of the service would, from this machine: the status."""
    argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: web.edge.test"]
    sent = ["-H", f"Authorization: Bearer {token}"] if token else []
    return subprocess.run([*argv, *sent, f"http://{machine.address}/"], capture_output=True, text=True).stdout


def is_clean(machine: Machine) -> bool:
    return machine.files("*homeport*") <= {"/var/log/homeport"} and not [
        it for it in machine.processes().values() if "envoy" in it or "homeport" in it
    ]


def test_a_plan_shows_the_key_and_what_is_installed_and_changes_nothing(machines: Hosts, server: Stack) -> None:
    edge = machines.machines[0]
    done = apply(server, machines, edge, "--plan")
    assert done.returncode == 0, done.stderr
    key = edge.shell("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert f"{edge.address}  ssh-ed25519 {key}" in done.stdout
    assert "agent and Envoy are installed" in done.stdout
    assert f"{USER}@{edge.address} over SSH" in done.stdout
    assert shown(server) == {}


def test_one_that_cannot_be_installed_says_why_and_comes_when_it_is_applied_again(
    machines: Hosts, server: Stack
) -> None:
    edge = machines.machines[0]
    keys = (edge.root / KEYS).read_text()
    (edge.root / KEYS).write_text("")
    done = apply(server, machines, edge)
    assert done.returncode == 1
    assert f"its machine {edge.address} could not be installed: {USER} is refused with the key" in done.stderr
    state = shown(server)
    assert "connecting failed" in state["message"]
    assert "next try: when the gateway is applied again" in state["message"]

    (edge.root / KEYS).write_text(keys)
    done = apply(server, machines, edge)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Gateway edge is ready: services are published at http://NAME.edge.test\n"
    assert shown(server)["host"] == EDGE
    assert "nothing to do" in apply(server, machines, edge).stderr
    assert edge.shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "1024\n", "80 is the unit's right"
    unit = edge.shell("systemctl show homeport-agent -p User,SupplementaryGroups,Environment")
    assert "HOMEPORT_DOCKER_SOCKET=none" in unit
    assert "docker" not in unit.replace("HOMEPORT_DOCKER_SOCKET", "").lower()


def test_a_service_on_another_host_is_answered_through_it(machines: Hosts, server: Stack) -> None:
    edge = machines.machines[0]
    done = server.apply(yaml.safe_dump({**WEB, "fleets": ["lab"]}), timeout_s=120)
    assert done.returncode == 0, done.stderr
    assert "Service is published at http://web.edge.test" in done.stdout
    assert call(edge, server.token) == "200"
    assert call(edge) == "401"
    [replica] = server.run("web")["replicas"]
    assert replica["host"] == FAR
    refused = server.homeport("gateway", "delete", "edge", "-y")
    assert refused.returncode == 1
    assert "gateway edge publishes 1 service (web)" in refused.stderr
    refused = server.homeport("fleet", "delete", EDGE, "-y", timeout_s=90)
    assert "it is the host of the gateway edge" in refused.stderr


def test_no_replica_is_placed_there(server: Stack) -> None:
    server.homeport("fleet", "undrain", EDGE)
    done = server.apply(yaml.safe_dump({**WEB, "name": "lost", "hosts": [EDGE]}), "--plan")
    assert "runs gateways only" in done.stdout + done.stderr


def test_a_machine_stays_what_it_has_joined_as(machines: Hosts, server: Stack) -> None:
    edge, _, far = machines.machines
    done = apply(server, machines, far, name="third", domain="third.test")
    assert done.returncode == 1
    assert f"write that name for a gateway on it: host: {FAR}" in done.stderr
    assert "HOMEPORT_DOCKER_SOCKET" not in far.shell("systemctl cat homeport-agent"), "nothing was changed there"
    assert server.homeport("gateway", "delete", "third", "-y").returncode == 0
    line = server.homeport("fleet", "join-command", "lab").stdout.strip()
    joined = edge.run("su", "-", USER, "-c", line, check=False)
    assert joined.returncode != 0
    assert "runs gateways only; delete these first" in joined.stderr
    edge.shell("sh /opt/homeport/install.sh --upgrade-now")
    assert "HOMEPORT_DOCKER_SOCKET=none" in edge.shell("systemctl cat homeport-agent"), "upgraded it is the same"
    assert call(edge, server.token) == "200"


def test_it_answers_while_server_and_agent_are_killed(machines: Hosts, server: Stack) -> None:
    edge = machines.machines[0]
    server.server.kill()
    edge.shell("systemctl kill -s KILL homeport-agent; systemctl stop homeport-agent")
    assert {call(edge, server.token) for _ in range(50)} == {"200"}
    server.server.start()
    wait_for("the server answers", lambda: server.homeport("gateway", "list").returncode == 0)
    wait_for("it is told", lambda: "its host edge-1 is unreachable" in shown(server)["notice"])
    assert {call(edge, server.token) for _ in range(10)} == {"200"}


def test_after_a_loss_of_power_it_is_back_by_itself(machines: Hosts, server: Stack) -> None:
    edge = machines.machines[0]
    edge.shell("systemctl start homeport-agent")
    edge.power_loss()
    wait_for("it answers", lambda: call(edge, server.token) == "200", 60)
    wait_for("it is known", lambda: shown(server).get("ready") and not shown(server).get("notice"), 60)


def test_applied_again_it_is_repaired(machines: Hosts, server: Stack) -> None:
    edge = machines.machines[0]
    edge.shell("systemctl disable -q --now homeport-agent; rm -rf /opt/homeport/agent/current")
    wait_for("it is told", lambda: "is unreachable" in shown(server).get("notice", ""))
    done = apply(server, machines, edge)
    assert done.returncode == 0, done.stderr
    assert "repair" in done.stderr
    assert call(edge, server.token) == "200"
    wait_for("nothing is wrong any more", lambda: not shown(server).get("notice"))


def test_with_another_host_it_moves_and_the_first_machine_is_clean(machines: Hosts, server: Stack) -> None:
    edge, other, _ = machines.machines
    done = apply(server, machines, other)
    assert done.returncode == 0, done.stderr
    assert shown(server)["host"] == OTHER
    wait_for("it serves", lambda: call(other, server.token) == "200")
    wait_for("nothing is left on the first", lambda: is_clean(edge))
    assert {it["name"] for it in server.hosts()} >= {OTHER, FAR}
    assert EDGE not in {it["name"] for it in server.hosts()}


def test_deleted_it_leaves_nothing(machines: Hosts, server: Stack) -> None:
    other = machines.machines[1]
    assert server.homeport("stop", "-x", "-y", "web").returncode == 0
    done = server.homeport("gateway", "delete", "edge", "-y", timeout_s=120)
    assert (done.returncode, done.stdout) == (0, "gateway edge is deleted\n"), done.stderr
    assert OTHER not in {it["name"] for it in server.hosts()}
    wait_for("nothing is left there", lambda: is_clean(other))
    assert other.shell("ls /opt /var/lib/homeport 2>&1; id homeport 2>&1; true").count("no such user") == 1
