"""On-demand hosts on real machines: looked at by `apply`, brought up for a run, let go and shut down after it."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SO_REUSEADDR, SOCK_DGRAM, SOL_SOCKET, socket
from typing import Any

import pytest
import yaml
from homeport_protos.ssh.waking import DISCARD_PORT, magic_packet
from rig.hosts import USER, Hosts, hosts, stack_for_hosts
from rig.lone_server import COMMAND
from rig.machine import Machine
from rig.stack import Stack, wait_for
from rig.terminal import on_terminal

pytestmark = [pytest.mark.slow, pytest.mark.docker]

FIRST, SECOND, SLEEPER = "dem-1", "dem-2", "dem-3"
IMAGE = "homeport-test/hello:1"
MAC = "02:48:50:00:00:66"
# Of this machine's own network: nothing leaves it.
BROADCAST = "127.255.255.255"
GPU = "GPU-00000000-0000-4000-8000-00000000000{}, NVIDIA RTX A5000, 24564, 8.6, 00000000:0{}:00.0, 570.86.15, [N/A]"
NVIDIA_SMI = "#!/bin/sh\ncat <<END\n{}\nEND\n"


def prepare(machine: Machine) -> None:
    if machine.name == SECOND:  # as nvidia-smi would say it
        smi = machine.root / "usr/bin/nvidia-smi"
        smi.write_text(NVIDIA_SMI.format("\n".join(GPU.format(n, n) for n in (1, 2))))
        smi.chmod(0o755)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts"), [FIRST, SECOND, SLEEPER], 100, prepare) as made:
        for machine in made.machines:
            machine.load_image(IMAGE)
        yield made


@pytest.fixture(scope="module")
def server(machines: Hosts) -> Iterator[Stack]:
    """With a gateway on this machine, which the services here do not run on."""
    with stack_for_hosts() as made:
        yield made


def fleet(server: Stack, machines: Hosts, names: list[str], **settings: Any) -> list[str]:
    """The command that applies it."""
    addresses = {machine.name: machine.address for machine in machines.machines}
    wake = settings.pop("wake", None)
    listed = [{"hostname": addresses[name], **({"wake": wake} if wake else {})} for name in names]
    ssh = {"user": USER, "identity_file": str(machines.key), "hosts": listed}
    document = {"type": "fleet", "name": "lab", "provision": "on-demand", "idle_duration": "2s", "ssh_config": ssh}
    file = server.folder / "fleet.homeport.yml"
    file.write_text(yaml.safe_dump({**document, **settings}))
    return [*COMMAND, "apply", "-f", str(file)]


def run(server: Stack, command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, cwd="/"
    )


def service(server: Stack, **fields: Any) -> list[str]:
    """The command that applies it."""
    document = {"type": "service", "name": "hello", "image": IMAGE, "port": 8000, "fleets": ["lab"]}
    folder = server.folder / "service"
    folder.mkdir(exist_ok=True)
    (folder / "hello.homeport.yml").write_text(yaml.safe_dump({**document, **fields}))
    return [*COMMAND, "apply", "-f", str(folder / "hello.homeport.yml")]


def listed(server: Stack) -> dict[str, dict[str, Any]]:
    found = json.loads(server.homeport("fleet", "list", "--json").stdout).get("hosts", [])
    return {host["address"]: host for host in found if host["fleet"] == "lab"}


def states(server: Stack) -> dict[str, str]:
    return {address: host["state"] for address, host in listed(server).items()}


def replica_states(server: Stack) -> list[str]:
    runs = json.loads(server.homeport("ps", "--json").stdout).get("runs", [])
    return [replica["state"] for run in runs for replica in run.get("replicas", [])]


def stop(server: Stack) -> None:
    assert server.homeport("stop", "hello", "-y", "-x").returncode == 0
    wait_for("it has ended", lambda: replica_states(server) == [])


def story(server: Stack) -> str:
    return server.homeport("event").stdout


def test_a_run_brings_up_the_host_that_fits_and_it_is_let_go_when_nothing_runs_on_it(
    machines: Hosts, server: Stack
) -> None:
    first, second, _ = machines.machines
    apply = fleet(server, machines, [FIRST, SECOND])
    plan = run(server, [*apply, "--plan"])
    assert "2 to look at" in plan.stdout, plan.stderr
    assert f"The server keeps, encrypted, to bring them up when a run needs them: {machines.key}" in plan.stdout
    done = run(server, [*apply, "-y"])
    assert done.returncode == 0, done.stderr
    assert states(server) == {first.address: "pending", second.address: "pending"}
    assert not first.files("*homeport*"), "it was looked at, nothing was changed"
    assert "nothing to do" in run(server, [*apply, "-y"]).stderr
    secret = machines.key.read_text().splitlines()[2]
    kept = b"".join(path.read_bytes() for path in (server.folder / "server").iterdir() if path.is_file())
    assert secret.encode() not in kept, "the key is sealed at rest"

    offered = run(server, [*service(server, resources={"gpu": "24GB:2"}), "--plan"])
    assert re.search(rf"{SECOND} .*A5000:24GB:2 .*not provisioned", offered.stdout), offered.stdout
    assert f"{FIRST}: needs 2 GPUs" in offered.stdout
    reuse = run(server, [*service(server), "--plan", "--reuse"])
    assert f"{SECOND}: is not provisioned, the run asks for reuse" in reuse.stdout, reuse.stdout

    submitted = run(server, [*service(server, resources={"memory": "64MB.."}), "-y", "-d"])
    assert submitted.returncode == 0, submitted.stderr
    wait_for("it runs there", lambda: replica_states(server) == ["running"], 60)
    up = [address for address, host in listed(server).items() if host["connection"] == "connected"]
    assert len(up) == 1, "one is enough"
    assert (
        f"host {FIRST if up[0] == first.address else SECOND} is brought up for hello: no connected host has room"
        in story(server)
    )

    stop(server)
    wait_for("it is let go", lambda: set(states(server).values()) == {"pending"}, 60)
    machine = first if up[0] == first.address else second
    assert machine.shell("systemctl is-active homeport-agent; systemctl is-enabled homeport-agent", check=False).split() \
        == ["inactive", "disabled"]  # fmt: skip
    assert "is released: nothing has run on it for" in story(server)

    # Again: what is installed is started, and it is the same host.
    before = {host["id"] for host in listed(server).values() if host.get("id")}
    assert run(server, [*service(server), "-y", "-d"]).returncode == 0
    wait_for("it runs again", lambda: replica_states(server)[-1:] == ["running"], 60)
    assert {host["id"] for host in listed(server).values() if host.get("id")} == before
    server.server.kill()
    server.server.start()
    wait_for("the server answers", lambda: server.homeport("fleet", "list").returncode == 0)
    wait_for("the server is back", lambda: states(server).get(up[0]) == "busy", 30)
    stop(server)
    wait_for("it is let go again", lambda: set(states(server).values()) == {"pending"}, 60)


class Card:
    """What a network card does that was told to wait for its packet: starts the machine."""

    def __init__(self, machine: Machine) -> None:
        self.woken = threading.Event()
        self._machine = machine
        self._socket = socket(AF_INET, SOCK_DGRAM)
        self._socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        self._socket.bind((BROADCAST, DISCARD_PORT))
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def _wait(self) -> None:
        while self._socket.recv(1024) != magic_packet(MAC):
            pass
        self.woken.set()
        self._machine.boot()

    @contextmanager
    def listening(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._socket.close()


def test_a_machine_that_is_off_is_woken_and_shut_down_again(machines: Hosts, server: Stack) -> None:
    [_, _, machine] = machines.machines
    apply = fleet(server, machines, [SLEEPER], power_off=True, wake={"mac": MAC, "broadcast": BROADCAST})
    assert run(server, [*apply, "-y"]).returncode == 0
    machine.off()
    card = Card(machine)
    with card.listening():
        assert run(server, [*service(server), "-y", "-d"]).returncode == 0
        wait_for("it is woken", card.woken.is_set, 60)
        wait_for("it runs there", lambda: replica_states(server) == ["running"], 90)
    stop(server)
    wait_for("it is let go", lambda: states(server) == {machine.address: "pending"}, 60)
    wait_for("it is off", lambda: not has_first_process(machine), 60)
    machine.off()  # the rig tidies up after it
    machine.boot()


def has_first_process(machine: Machine) -> bool:
    return Path(f"/proc/{(machine.root.parent / 'pid').read_text().strip()}").exists()


def test_what_cannot_be_brought_up_says_why_and_is_tried_again_later_and_another_one_is_taken(
    machines: Hosts, server: Stack
) -> None:
    first, second, _ = machines.machines
    assert run(server, [*fleet(server, machines, [FIRST, SECOND]), "-y"]).returncode == 0
    for machine in (first, second):
        machine.shell("systemctl stop ssh.socket ssh.service")
    assert run(server, [*service(server), "-y", "-d"]).returncode == 0
    tried = "not provisioned; the last try failed: port 22 refuses connections"
    wait_for(
        "both were tried",
        lambda: [host["reason"].startswith(tried) for host in listed(server).values()] == [True, True],
        60,
    )
    assert re.search(r"could not be brought up: .*; it is tried again in 30s at the earliest", story(server))
    assert "2 are not provisioned; the last try failed" in server.homeport("ps", "-v").stdout
    second.shell("systemctl start ssh")
    again = run(server, [*fleet(server, machines, [FIRST, SECOND]), "-y"])
    assert again.returncode == 1
    assert f"{first.address}: port 22 refuses connections" in again.stderr
    wait_for("the other one serves", lambda: replica_states(server) == ["running"], 60)
    first.shell("systemctl start ssh")
    stop(server)


def test_a_password_for_sudo_is_asked_for_once_and_kept_for_the_server(machines: Hosts, server: Stack) -> None:
    [first, _, _] = machines.machines
    first.shell(f"echo '{USER} ALL=(ALL) ALL' >/etc/sudoers.d/{USER}; echo {USER}:sudo-secret | chpasswd")
    answers = [("[y/n]: ", "y"), (f"Password for sudo on {first.address}: ", "sudo-secret")]
    code, shown = on_terminal(fleet(server, machines, [FIRST]), server.environment, answers)
    assert code == 0, shown
    assert run(server, [*service(server), "-y", "-d"]).returncode == 0
    wait_for("it runs there", lambda: replica_states(server) == ["running"], 60)
    kept = b"".join(path.read_bytes() for path in (server.folder / "server").iterdir() if path.is_file())
    assert b"sudo-secret" not in kept
    assert "sudo-secret" not in server.server.output
    stop(server)
    first.shell(f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}")
