"""A newer server brings its hosts to its agent, one after the other, and back when that one does not connect.

Newer servers are real: copies of our packages with a change in the agent, from which the server makes its wheel.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.hosts import SERVER_ADDRESS, Hosts, hosts
from rig.lone_server import LoneServer, lone_server
from rig.machine import ROOT
from rig.stack import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

UPGRADE_S = 180.0


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), ["up-1", "up-2"], 50) as made:
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[LoneServer]:
    with lone_server(bind=SERVER_ADDRESS) as made:
        for machine in machines.machines:
            line = made.homeport("fleet", "join-command", "lab").stdout.strip()
            joined = machine.run("su", "-", "ops", "-c", line, check=False)
            assert joined.returncode == 0, joined.stderr
        yield made


def changed(folder: Path, file: str, text: str) -> str:
    """Our packages with text at the end of a module; as PYTHONPATH."""
    paths = []
    for part in ("agent", "cli", "controlplane", "protos"):
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
    machines: Hosts, server: LoneServer, tmp_path: Path
) -> None:
    before = listed(server)
    [old] = {host["build"] for host in before.values()}
    # Something that runs, and that must not notice.
    first = machines.machines[0]
    first.shell(
        "tar -c -C / bin lib lib64 usr/bin/sleep usr/lib/x86_64-linux-gnu/libc.so.6 | docker import - still >/dev/null"
    )
    first.shell("docker run -d --name bystander still /usr/bin/sleep 9999")
    started = first.shell("docker inspect -f '{{.State.StartedAt}}' bystander")

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
    assert first.shell("docker inspect -f '{{.State.StartedAt}}' bystander") == started
    assert new in first.shell("readlink /opt/homeport/agent/current")

    restart(server, changed(tmp_path / "bad", "app.py", "\nraise SystemExit('this build is broken')\n"))
    wait_for("a failure is told", lambda: any(host["upgrade_error"] for host in listed(server).values()), UPGRADE_S)
    wait_for("all are back", lambda: {host["connection"] for host in listed(server).values()} == {"connected"}, 60)
    rows = listed(server)
    assert {host["build"] for host in rows.values()} == {new}, "the old one goes on"
    [reason] = [host["upgrade_error"] for host in rows.values() if host["upgrade_error"]]
    assert f"did not connect within 60 s, back to {new}" in reason, "one failed, the other was left alone"
    assert "this build is broken" in reason
    assert first.shell("docker inspect -f '{{.State.StartedAt}}' bystander") == started
    assert first.shell("ls -d /opt/homeport/agent/[0-9a-f]*/bin").count("\n") <= 3, "two and the link"
    assert server.homeport("fleet", "upgrade", "nowhere").returncode == 1
