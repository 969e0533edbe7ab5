"""A newer server brings its hosts to its agent, one after the other, and back when that one does not connect.

Newer servers are real: copies of our packages with a change in the agent, from which the server makes its wheel. All the
while requests go to a service on the first host, from inside it: through its Envoy, which is the gateway, and straight to the
replica's port. Not covered: a gateway on another host than the replica's.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rig.gateway import envoy_binary
from rig.hosts import Hosts, hosts
from rig.lone_server import LoneServer, lone_server
from rig.machine import ROOT, Machine
from rig.stack import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.envoy]

UPGRADE_S = 120.0
IMAGE = "homeport-test/hello:1"
WEB = f"""
type: service
name: web
image: {IMAGE}
commands: [exec python3 /hello.py]
port: 8000
hosts: [up-1]
repo: false
"""


def with_envoy(machine: Machine) -> None:
    """As an owner may have it: Envoy's binary is there. It is not what is tested, and would be 40 MB to fetch."""
    shutil.copy(envoy_binary(), machine.root / "usr/local/bin/envoy")
    unit = machine.root / "etc/systemd/system/homeport-agent.service.d"
    unit.mkdir(parents=True)
    (unit / "envoy.conf").write_text("[Service]\nEnvironment=HOMEPORT_ENVOY_BINARY=/usr/local/bin/envoy\n")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), ["up-1", "up-2"], 50, with_envoy) as made:
        yield made


@pytest.fixture
def tunnels() -> Iterator[dict[str, ExitStack]]:
    """Ways to the server, by host. The first host that reaches it by its loopback becomes the gateway."""
    made = {"up-1": ExitStack(), "up-2": ExitStack()}
    yield made
    for way in made.values():
        way.close()


def open_tunnel(machines: Hosts, server: LoneServer, machine: Machine, tunnels: dict[str, ExitStack]) -> None:
    ports = (server.api_port, server.link_port, server.api_port + 2)
    tunnels[machine.name].enter_context(machines.tunnel(machine, *ports))


@pytest.fixture
def server(machines: Hosts, tunnels: dict[str, ExitStack]) -> Iterator[LoneServer]:
    with lone_server() as made:
        for machine in machines.machines:
            open_tunnel(machines, made, machine, tunnels)
            line = made.homeport("fleet", "join-command", "lab").stdout.strip()
            joined = machine.run("su", "-", "ops", "-c", line, check=False)
            assert joined.returncode == 0, joined.stderr
        yield made


def start_traffic(machine: Machine, server: LoneServer, port: int) -> "subprocess.Popen[str]":
    shutil.copy(ROOT / "tests/rig/traffic.py", machine.root / "opt/traffic.py")
    client = machine.start("python3", "/opt/traffic.py", f"web:{server.gateway_port}", f"web:{port}")
    assert client.stdin is not None
    client.stdin.write(f"{server.token}\n")
    client.stdin.flush()
    return client


def end_traffic(client: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    said, _ = client.communicate(timeout=60)
    return [json.loads(line) for line in said.splitlines()]


def changed(folder: Path, file: str, text: str) -> str:
    """Our packages with text at the end of a module; as PYTHONPATH."""
    paths = []
    for part in ("agent", "cli", "client", "controlplane", "protos"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        paths.append(str(folder / part))
    with (folder / "agent" / "homeport_agent" / file).open("a") as module:
        module.write(text)
    return ":".join(paths)


def restart(server: LoneServer, python_path: str) -> None:
    server.process.stop()
    server.process.restart_with({"PYTHONPATH": python_path})
    wait_for("the server answers", lambda: server.homeport("fleet", "list").returncode == 0)


def listed(server: LoneServer) -> dict[str, dict[str, Any]]:
    return {host["name"]: host for host in json.loads(server.homeport("fleet", "list", "--json").stdout)["hosts"]}


def test_agents_follow_a_newer_server_and_go_back_from_one_that_does_not_connect(
    machines: Hosts, server: LoneServer, tunnels: dict[str, ExitStack], tmp_path: Path
) -> None:
    first, second = machines.machines
    before = listed(server)
    [old] = {host["build"] for host in before.values()}
    first.load_image(IMAGE)
    (tmp_path / "service").mkdir()
    file = tmp_path / "service" / "web.yml"
    file.write_text(WEB)
    applied = server.homeport("apply", "-y", "-f", str(file))
    assert applied.returncode == 0, applied.stdout + applied.stderr
    label = "label=homeport.run=web"
    container = first.shell(f"docker ps -q --filter {label}").strip()
    started = first.shell(f"docker inspect -f '{{{{.State.StartedAt}}}}' {container}")
    port = int(first.shell(f"docker port {container} 8000/tcp").rpartition(":")[2])
    client = start_traffic(first, server, port)

    restart(server, changed(tmp_path / "good", "__init__.py", "\n# newer\n"))
    wait_for("both have it", lambda: {host["build"] for host in listed(server).values()} - {old} and
             len({host["build"] for host in listed(server).values()}) == 1, UPGRADE_S)  # fmt: skip
    after = listed(server)
    [new] = {host["build"] for host in after.values()}
    assert {host["connection"] for host in after.values()} == {"connected"}
    assert {host["id"] for host in after.values()} == {host["id"] for host in before.values()}
    for name in ("up-1", "up-2"):
        wait_for(
            "it is told", lambda name=name: f"host {name} has the agent {new} now" in server.homeport("event").stdout
        )
    assert new in first.shell("readlink /opt/homeport/agent/current")

    tunnels["up-2"].close()  # so that the one with the requests is the first to try the next build
    restart(
        server,
        changed(tmp_path / "bad", "app.py", "\n\nasync def run(_):\n    raise SystemExit('this build is broken')\n"),
    )
    wait_for("it tries", lambda: new not in first.shell("readlink /opt/homeport/agent/current"), UPGRADE_S)
    open_tunnel(machines, server, second, tunnels)
    wait_for("a failure is told", lambda: any(host["upgrade_error"] for host in listed(server).values()), UPGRADE_S)
    wait_for("all are back", lambda: {host["connection"] for host in listed(server).values()} == {"connected"}, 60)
    rows = listed(server)
    assert {host["build"] for host in rows.values()} == {new}, "the old one goes on"
    assert rows["up-2"]["upgrade_error"] == "", "the other was left alone"
    reason = rows["up-1"]["upgrade_error"]
    assert f"ended 5 times and did not connect, back to {new}" in reason
    assert "this build is broken" in reason
    # The broken one goes when the one before it is back, which may have told of it by then.
    builds = "ls -d /opt/homeport/agent/[0-9a-f]*/bin"
    wait_for("two builds and the link are kept", lambda: first.shell(builds).count("\n") <= 3)
    assert server.homeport("fleet", "upgrade", "nowhere").returncode == 1

    # One that cannot even be loaded never takes the old one's place.
    pid = first.shell("systemctl show homeport-agent -p MainPID --value")
    restart(server, changed(tmp_path / "worse", "app.py", "\nraise SystemExit('this one too')\n"))
    wait_for(
        "it is told too", lambda: "this one too" in "".join(h["upgrade_error"] for h in listed(server).values()), 60
    )
    told = [host["upgrade_error"] for host in listed(server).values()]
    assert any("does not start with /usr/bin/python3: this one too" in error for error in told), told
    assert first.shell("systemctl show homeport-agent -p MainPID --value") == pid

    through_gateway, direct = end_traffic(client)
    assert first.shell(f"docker inspect -f '{{{{.State.StartedAt}}}}' {container}") == started
    for seen in (through_gateway, direct):
        assert seen["failures"] == []
        assert len(seen["answers"]) == 1, "one process all the while"
        assert sum(seen["answers"].values()) > 500
    print(f"{sum(through_gateway['answers'].values())} through Envoy, {sum(direct['answers'].values())} direct")
