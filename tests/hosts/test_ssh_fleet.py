"""`apply` of a fleet over SSH, on real machines: good ones and bad ones at once, again, changed, through a jump host."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.hosts import SERVER_ADDRESS, USER, Hosts, hosts
from rig.lone_server import COMMAND, LoneServer, lone_server
from rig.machine import Machine
from rig.stack import wait_for
from rig.terminal import on_terminal

pytestmark = [pytest.mark.slow, pytest.mark.docker]

GOOD, NO_KEY, NO_DOCKER = "ssh-1", "ssh-2", "ssh-3"


def prepare(machine: Machine) -> None:
    if machine.name == NO_KEY:
        (machine.root / "home" / USER / ".ssh" / "authorized_keys").write_text("")
    if machine.name == NO_DOCKER:
        for path in ("usr/sbin/dockerd", "usr/bin/apt-get", "lib/systemd/system/docker.socket"):
            (machine.root / path).rename(machine.root / f"{path}.away")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), [GOOD, NO_KEY, NO_DOCKER], 30, prepare) as made:
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[LoneServer]:
    with lone_server(bind=SERVER_ADDRESS) as made:
        yield made


def write(server: LoneServer, machines: Hosts, names: list[str], **ssh: Any) -> list[str]:
    """The file of the fleet; the command that applies it."""
    addresses = {machine.name: machine.address for machine in machines.machines}
    settings = {"user": USER, "identity_file": str(machines.key), "hosts": [addresses[name] for name in names], **ssh}
    document = {"type": "fleet", "name": "lab", "labels": {"rack": "a"}, "region": "basement", "ssh_config": settings}
    file = server.folder / "fleet.homeport.yml"
    file.write_text(yaml.safe_dump(document))
    return [*COMMAND, "apply", "-f", str(file)]


def apply(
    server: LoneServer, machines: Hosts, names: list[str], *arguments: str, **ssh: Any
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*write(server, machines, names, **ssh), *arguments],
        env=server.environment, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip


def listed(server: LoneServer) -> dict[str, dict[str, Any]]:
    found = json.loads(server.homeport("fleet", "list", "--json").stdout).get("hosts", [])
    return {host["address"]: host for host in found}


def test_good_ones_join_and_each_bad_one_has_its_reason(machines: Hosts, server: LoneServer) -> None:
    good, no_key, no_docker = machines.machines
    plan = apply(server, machines, [GOOD, NO_KEY, NO_DOCKER], "--plan")
    assert plan.returncode == 0, plan.stderr
    assert "3 to install" in plan.stdout
    shown = good.shell("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert f"{good.address}  ssh-ed25519 {shown}" in plan.stdout, "the key that it has"
    assert listed(server) == {}, "a plan changes nothing"

    done = apply(server, machines, [GOOD, NO_KEY, NO_DOCKER], "-y")
    assert done.returncode == 1
    assert "2 of 3 hosts failed; the others are done" in done.stderr
    assert re.search(rf"^ *{no_key.address}: ops is refused with the key .*authorized_keys", done.stderr, re.MULTILINE)
    assert re.search(
        rf"^ *{no_docker.address}: docker: there is no engine.*; fix: install Docker", done.stderr, re.MULTILINE
    )

    rows = listed(server)
    host = rows[good.address]
    assert (host["connection"], host["labels"]) == ("connected", {"rack": "a"})
    assert rows[no_key.address]["state"] == "pending"
    assert "connecting failed" in rows[no_key.address]["reason"]
    assert "next try: when the fleet is applied again" in rows[no_docker.address]["reason"]
    assert no_docker.shell("ls /opt /tmp") == "/opt:\n\n/tmp:\n", "nothing half done is left there"

    # Put right, and applied again: only what was broken is touched.
    pid = good.shell("systemctl show homeport-agent -p MainPID --value")
    (no_key.root / "home" / USER / ".ssh" / "authorized_keys").write_text((machines.folder / "key.pub").read_text())
    again = apply(server, machines, [GOOD, NO_KEY], "-y")
    assert again.returncode == 0, again.stderr
    assert f"{good.address}: " not in again.stderr
    assert good.shell("systemctl show homeport-agent -p MainPID --value") == pid
    assert set(listed(server)) == {good.address, no_key.address}, "one that never joined is forgotten"
    assert "nothing to do" in apply(server, machines, [GOOD, NO_KEY], "-y").stderr


def test_a_changed_list_takes_hosts_out_and_they_clean_themselves(machines: Hosts, server: LoneServer) -> None:
    good, other, _ = machines.machines
    refused = apply(server, machines, [GOOD])
    assert refused.returncode == 2
    assert "pass -y" in refused.stderr, "nobody was asked, nothing was done"
    done = apply(server, machines, [GOOD], "-y")
    assert done.returncode == 0, done.stderr
    assert "is removed" in done.stderr
    assert set(listed(server)) == {good.address}
    wait_for("nothing of it is left", lambda: other.files("*homeport*") <= {"/var/log/homeport"})


def test_a_host_behind_a_jump_host_and_one_that_shows_another_key(machines: Hosts, server: LoneServer) -> None:
    good, behind, _ = machines.machines
    own = server.folder / "known_hosts"
    assert behind.address in own.read_text()
    # Reached through the first one only: the second refuses everybody else.
    behind.shell(f"iptables -I INPUT -p tcp --dport 22 ! -s {good.address} -j DROP")
    jump = {"hostname": good.address, "user": USER, "identity_file": str(machines.key)}
    through = apply(server, machines, [GOOD, NO_KEY], "-y", proxy_jump=jump)
    behind.shell("iptables -F INPUT")
    assert through.returncode == 0, through.stderr
    assert listed(server)[behind.address]["connection"] == "connected"

    behind.shell("systemctl stop homeport-agent; rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' "
                 "-f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh")  # fmt: skip
    wait_for("lost", lambda: listed(server)[behind.address]["connection"] == "unreachable")
    changed = apply(server, machines, [GOOD, NO_KEY], "-y")
    assert changed.returncode == 1
    assert "it shows another host key than the one that is known" in changed.stderr
    assert f"ssh-keygen -R {behind.address}" in changed.stderr


def test_what_must_be_typed_is_asked_for_once_and_without_a_terminal_is_one_line(
    machines: Hosts, server: LoneServer, tmp_path: Path
) -> None:
    good, _, machine = machines.machines
    for path in ("usr/sbin/dockerd", "usr/bin/apt-get", "lib/systemd/system/docker.socket"):
        (machine.root / f"{path}.away").rename(machine.root / path)
    machine.shell(f"echo '{USER} ALL=(ALL) ALL' >/etc/sudoers.d/{USER}; echo {USER}:sudo-secret | chpasswd")
    key = tmp_path / "encrypted"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "key-secret", "-f", str(key)], check=True)
    for each in (good, machine):
        with (each.root / "home" / USER / ".ssh" / "authorized_keys").open("a") as keys:
            keys.write(key.with_suffix(".pub").read_text())

    nobody = apply(server, machines, [GOOD, NO_DOCKER], "-y")
    assert nobody.returncode == 1
    assert "sudo wants a password and there is nobody to ask" in nobody.stderr
    nobody = apply(server, machines, [GOOD, NO_DOCKER], "-y", identity_file=str(key))
    assert nobody.returncode == 1
    assert "is encrypted and there is nobody to ask for its passphrase" in nobody.stderr

    answers = [
        ("[y/n]: ", "y"),
        ("Passphrase of", "wrong"),
        ("Passphrase of", "key-secret"),
        (f"Password for sudo on {machine.address}: ", "sudo-secret"),
    ]
    command = write(server, machines, [GOOD, NO_DOCKER], identity_file=str(key))
    code, shown = on_terminal(command, server.environment, answers)
    assert code == 0, shown
    assert "secret" not in shown
    assert listed(server)[machine.address]["connection"] == "connected"
