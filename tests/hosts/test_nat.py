"""A host that nobody can dial: its replicas are called through the tunnel that it keeps to the gateway, and by no other way."""

import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import yaml
from rig.hosts import Hosts, hosts, stack_for_hosts
from rig.machine import Machine
from rig.stack import Stack, wait_for
from rig.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.envoy]

NAMES = ("nat-1", "nat-2")
IMAGE = "homeport-test/hello:1"
DOOR = "/var/lib/homeport/agent/envoy/door"


def nat(machine: Machine, *, on: bool) -> None:
    """What a router does to who dials in: nothing comes through that this host did not begin."""
    action = "-A" if on else "-D"
    for rule in ("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-i lo -j ACCEPT", "-j DROP"):
        machine.shell(f"iptables {action} INPUT {rule}")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), NAMES, 150) as made:
        for machine in made.machines:
            machine.load_image(IMAGE)
        every[:] = made.machines
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[Stack]:
    with stack_for_hosts() as made:
        for machine in machines.machines:
            nat(machine, on=True)
            line = made.homeport("fleet", "join-command", "lab").stdout.strip()
            joined = machine.run("su", "-", "ops", "-c", line, check=False)
            assert joined.returncode == 0, joined.stdout + joined.stderr
        yield made


every: list[Machine] = []


def apply(server: Stack, **fields: Any) -> "subprocess.CompletedProcess[str]":
    document = {"type": "service", "name": "far", "image": IMAGE, "port": 8000, "fleets": ["lab"], **fields}
    text = yaml.safe_dump({**document, "resources": {"memory": "64MB.."}})
    try:
        return server.apply(text, timeout_s=90)
    except subprocess.TimeoutExpired as error:
        logs = [server.agent_state / "envoy/edge/envoy.log", *(it.root / DOOR[1:] / "envoy.log" for it in every)]
        said = [f"{log}:\n{log.read_text()[-3000:]}" for log in logs if log.exists()]
        pytest.fail("\n".join([str(error.stderr), *(str(path_of(server, it)) for it in NAMES), *said]))


def path_of(server: Stack, name: str) -> dict[str, str]:
    [host] = [it for it in server.hosts() if it["name"] == name]
    [path] = host["paths"]
    return dict(path)


def pass_by(server: Stack, traffic: Traffic, count: int = 200) -> None:
    seen = traffic.total
    wait_for("requests go on", lambda: traffic.total > seen + count)


def test_requests_reach_replicas_on_hosts_that_nobody_can_dial(machines: Hosts, server: Stack) -> None:
    first, second = machines.machines
    done = apply(server, replicas=2, hosts=list(NAMES))
    assert done.returncode == 0, done.stderr
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        pass_by(server, traffic)
    assert traffic.failures == []
    assert {key.partition("/")[0] for key in traffic.answers} == {"0", "1"}, "both serve"
    for name in NAMES:
        path = path_of(server, name)
        assert path["kind"] == "tunnel", path
        assert "it cannot be dialled" in path["reason"]
    listening = first.shell("ss -Hltn | awk '{print $4}'").split()
    for port in {it.rpartition(":")[2] for it in listening if it.startswith("127.0.0.1:")}:
        url = f"http://{first.address}:{port}/"
        assert second.run("curl", "-s", "-m", "1", url, check=False).returncode != 0, f"{url} is open"


def test_a_rolling_update_and_a_drain_through_tunnels_lose_nothing(server: Stack) -> None:
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        updated = apply(server, replicas=2, hosts=list(NAMES), env={"A": "2"})
        assert updated.returncode == 0, updated.stderr
        assert server.homeport("fleet", "drain", NAMES[0], "-y", timeout_s=120).returncode == 0
        wait_for("it moved", lambda: {it["host"] for it in server.run("far")["replicas"]} == {NAMES[1]}, 60)
        pass_by(server, traffic)
    assert traffic.failures == []
    assert server.homeport("fleet", "undrain", NAMES[0]).returncode == 0
    assert apply(server, replicas=2, hosts=list(NAMES), env={"A": "3"}).returncode == 0


def test_the_way_changes_with_what_is_possible_and_no_request_is_lost(machines: Hosts, server: Stack) -> None:
    used = {it["host"] for it in server.run("far")["replicas"]}  # one without replicas is not dialled

    def changes(traffic: Traffic, kind: str, *, on: bool) -> None:
        for machine in machines.machines:
            nat(machine, on=on)
        for name in used:
            wait_for(f"{name} is reached: {kind}", lambda it=name: path_of(server, it)["kind"] == kind, 60)
        pass_by(server, traffic)

    with Traffic(server.gateway_port, "far", server.token) as traffic:
        changes(traffic, "direct", on=False)
        assert traffic.failures == []
        changes(
            traffic, "tunnel", on=True
        )  # a door that a router shuts is a fault: what came until it was noticed is lost
        before = len(traffic.failures)
        pass_by(server, traffic)
    assert len(traffic.failures) == before, traffic.failures[before:]


def test_requests_go_on_without_agent_and_server_and_when_an_envoy_of_the_way_is_killed(
    machines: Hosts, server: Stack
) -> None:
    first, second = machines.machines
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        pass_by(server, traffic)
        first.shell("systemctl stop homeport-agent")
        server.server.kill()
        pass_by(server, traffic)
        second.shell(f"kill -9 $(cat {DOOR}/envoy.pid)")
        pass_by(server, traffic)
        before = len(traffic.failures)
        edge = int((server.agent_state / "envoy/edge/envoy.pid").read_text())
        psutil.Process(edge).kill()
        pass_by(server, traffic)
        server.server.start()
        first.shell("systemctl start homeport-agent")
        wait_for("the server answers", lambda: server.homeport("fleet", "list").returncode == 0)
        wait_for("all are connected", lambda: all(it["connection"] == "connected" for it in server.hosts()))
        pass_by(server, traffic)
    # In flight at one of two hosts; then all that were, and what came until the edge was back.
    assert before <= 4, traffic.failures
    assert len(traffic.failures) - before <= 60, traffic.failures
