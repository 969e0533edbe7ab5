"""The direct way: a gateway on this machine, replicas on another one, mutual TLS between; nobody else gets in."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from rig.hosts import Hosts, hosts, stack_for_hosts
from rig.load_client import loading
from rig.nothing_lost import Stage, flows
from rig.stack import Stack, wait_for
from rig.traffic import Traffic, get

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.envoy]

NAMES = ("dir-1", "dir-2")
IMAGE = "homeport-test/hello:1"
DOOR = "/var/lib/homeport/agent/envoy/door"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), NAMES, 120) as made:
        for machine in made.machines:
            machine.load_image(IMAGE)
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[Stack]:
    with stack_for_hosts() as made:
        for machine in machines.machines:
            line = made.homeport("fleet", "join-command", "lab").stdout.strip()
            joined = machine.run("su", "-", "ops", "-c", line, check=False)
            assert joined.returncode == 0, joined.stdout + joined.stderr
        yield made


# Speaks HTTP/2 with prior knowledge and nothing else: 200 to each request.
H2C = """
import socketserver
SETTINGS, ACK = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.read(24) != b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n':
            return
        self.wfile.write(SETTINGS)
        while len(head := self.rfile.read(9)) == 9:
            body = self.rfile.read(int.from_bytes(head[:3], 'big'))
            if head[3] == 4 and not head[4] & 1:
                self.wfile.write(ACK)
            elif head[3] == 6 and not head[4] & 1:
                self.wfile.write(bytes([0, 0, 8, 6, 1, 0, 0, 0, 0]) + body)
            elif head[3] == 1:
                self.wfile.write(bytes([0, 0, 1, 1, 5]) + head[5:9] + bytes([0x88]))
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
Server(('', 8000), Handler).serve_forever()
"""


def apply(server: Stack, **fields: Any) -> "subprocess.CompletedProcess[str]":
    document = {"type": "service", "name": "far", "image": IMAGE, "port": 8000, "fleets": ["lab"], **fields}
    return server.apply(yaml.safe_dump({**document, "resources": {"memory": "64MB.."}}), timeout_s=180)


def door(server: Stack, name: str) -> list[dict[str, str]]:
    [host] = [it for it in server.hosts() if it["name"] == name]
    return list(host.get("paths", []))


def test_requests_reach_a_replica_on_another_host_and_nobody_else_does(machines: Hosts, server: Stack) -> None:
    first, second = machines.machines
    done = apply(server, replicas=2, hosts=list(NAMES))
    assert done.returncode == 0, done.stderr
    run = server.run("far")
    assert {it["host"] for it in run["replicas"]} == set(NAMES)
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        wait_for("requests", lambda: traffic.total > 50)
    assert traffic.failures == []
    for name in NAMES:
        [path] = door(server, name)
        assert (path["gateway"], path["kind"]) == ("local", "direct"), path

    ports = first.shell("ss -Hltn | awk '{print $4}'").split()
    [entrance] = [it for it in ports if it.startswith(f"{first.address}:")]
    port = int(entrance.rpartition(":")[2])
    # Loopback alone, but for the door; and there only with the certificate of a gateway's host.
    assert second.run("curl", "-s", "-m", "3", f"http://{first.address}:{port}/", check=False).returncode != 0
    for certificate in (None, "/var/lib/homeport/agent/identity"):
        argv = ["curl", "-sk", "-m", "3", f"https://{first.address}:{port}/"]
        if certificate:
            argv += ["--cert", f"{certificate}/certificate.pem", "--key", f"{certificate}/key.pem"]
        assert second.run(*argv, check=False).returncode != 0, "another host is no gateway"


def test_http_2_without_tls_passes_the_door_as_it_is_and_the_log_says_which_replica(server: Stack) -> None:
    command = 'exec python3 -c "$SERVER"'
    done = apply(server, name="h2", protocol="h2c", hosts=[NAMES[0]], commands=[command], env={"SERVER": H2C})
    assert done.returncode == 0, done.stderr
    assert get(server.gateway_port, "h2", token=server.token)[0] == 200
    [replica] = server.run("h2")["replicas"]

    def answered() -> list[str]:
        lines = server.homeport("logs", "h2", "--access").stdout.splitlines()
        return [line["replica"] for line in map(json.loads, lines) if line["status"] == 200]

    assert set(wait_for("the line is written", answered)) == {replica["id"]}


def test_requests_go_on_while_agent_and_server_are_away_and_a_doors_envoy_is_killed(
    machines: Hosts, server: Stack
) -> None:
    first, _ = machines.machines
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        wait_for("requests", lambda: traffic.total > 20)
        first.shell("systemctl stop homeport-agent")
        server.server.kill()
        seen = traffic.total
        wait_for("requests go on without both", lambda: traffic.total > seen + 200)
        # Its supervisor, not the agent, has it back; meanwhile the other replica serves.
        first.shell(f"kill -9 $(cat {DOOR}/envoy.pid)")
        seen = traffic.total
        wait_for("requests go on", lambda: traffic.total > seen + 200)
        server.server.start()
        first.shell("systemctl start homeport-agent")
        wait_for("the server answers", lambda: server.homeport("fleet", "list").returncode == 0)
        wait_for("all are connected", lambda: all(it["connection"] == "connected" for it in server.hosts()))
        seen = traffic.total
        wait_for("requests go on", lambda: traffic.total > seen + 200)
    # What was in flight at the killed Envoy is lost, as any answer of which a part was sent.
    assert len(traffic.failures) <= 2, traffic.failures
    assert {key.partition("/")[0] for key in traffic.answers} == {"0", "1"}, "both serve"


def test_a_rolling_update_and_a_drain_over_the_direct_way_lose_nothing(machines: Hosts, server: Stack) -> None:
    with Traffic(server.gateway_port, "far", server.token) as traffic:
        updated = apply(server, replicas=2, hosts=list(NAMES), env={"A": "2"})
        assert updated.returncode == 0, updated.stderr
        assert server.homeport("fleet", "drain", NAMES[0], "-y", timeout_s=120).returncode == 0
        wait_for("it moved", lambda: {it["host"] for it in server.run("far")["replicas"]} == {NAMES[1]}, 60)
        seen = traffic.total
        wait_for("requests go on", lambda: traffic.total > seen + 100)
    assert traffic.failures == []
    assert server.homeport("fleet", "undrain", NAMES[0]).returncode == 0


def test_no_answer_is_lost_cut_or_changed_while_one_host_and_then_the_other_is_drained(server: Stack) -> None:
    """Large bodies, event streams and websockets too, over the direct way, each byte checked."""
    stage = Stage(server, "checked", stop_duration_s=40)
    stage.apply(more="fleets: [lab]\nresources: {memory: 64MB..}")
    stage.settled()
    with loading(stage.target, flows(plain_per_s=40, longest_s=4)) as client:
        client.more(100)
        for name in NAMES:
            done = server.homeport("fleet", "drain", name, "-y", timeout_s=120)
            assert done.returncode == 0, done.stderr
            wait_for(f"{name} is left", lambda: name not in {it["host"] for it in stage.run()["replicas"]}, 90)  # noqa: B023
            stage.settled()
            client.more(100)
            assert server.homeport("fleet", "undrain", name).returncode == 0
    assert client.results.not_ok == 0, client.results.table()
    told = stage.log_lines("SIGTERM with")
    assert told
    assert [line for line in told if "SIGTERM with 0 under way" not in line] == []
