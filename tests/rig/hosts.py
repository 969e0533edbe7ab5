"""Several machines that could be hosts: systemd, sshd, sudo and a Docker engine each, up together in seconds.

Covers their disks (keys, sudo, where packages come from), starting them in parallel, and taking all of it away. Network
10.78.N.0/30 each; this machine is SERVER_ADDRESS for all of them.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.machine import HOST_SH, Machine, base_root, run_script
from rig.stack import Stack, stack, wait_for

SERVER_ADDRESS = "10.78.0.1"
TOGETHER = 4  # with twenty at once on two cores, some systemd loses units to a race over their control groups
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - machines reach it by one address, the gateway's own agent by another
USER = "ops"  # may use sudo without a password


@dataclass(frozen=True, slots=True)
class Hosts:
    machines: tuple[Machine, ...]
    folder: Path  # of the SSH key

    @property
    def key(self) -> Path:
        """Lets its owner in as root and as USER."""
        return self.folder / "key"

    def ssh(self, machine: Machine, *command: str, user: str = USER) -> "subprocess.CompletedProcess[str]":
        argv = [*self._ssh(), f"{user}@{machine.address}", *command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    @contextmanager
    def tunnel(self, machine: Machine, *ports: int) -> Iterator[None]:
        """Ports of this machine's loopback are that machine's too, until the end: to who listens here, it is local."""
        there = [word for port in ports for word in ("-R", f"127.0.0.1:{port}:127.0.0.1:{port}")]
        command = [*self._ssh(), "-N", "-o", "ExitOnForwardFailure=yes", *there, f"root@{machine.address}"]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            wait_for(
                "the tunnel is open",
                lambda: machine.run("bash", "-c", f": </dev/tcp/127.0.0.1/{ports[-1]}", check=False).returncode == 0,
            )
            yield
        finally:
            child.terminate()
            child.wait(10)

    def _ssh(self) -> list[str]:
        known = f"UserKnownHostsFile={self.folder}/known"
        options = ("StrictHostKeyChecking=no", known, "BatchMode=yes")
        return ["ssh", "-q", "-i", str(self.key), *(word for option in options for word in ("-o", option))]


@contextmanager
def hosts(
    folder: Path, names: Sequence[str], first_number: int, prepare: Callable[[Machine], None] = lambda machine: None
) -> Iterator[Hosts]:
    """Started together. `prepare` may change a disk before its machine starts."""
    machines = tuple(Machine(name, first_number + index, "systemd", "host") for index, name in enumerate(names))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    public_key = (folder / "key.pub").read_text()
    _address("replace")
    base = base_root("host")

    def start(machine: Machine) -> None:
        run_script(HOST_SH, "down", machine.name)
        run_script(HOST_SH, "disk", machine.name, str(base))
        _fill(machine, public_key)
        prepare(machine)
        machine.boot()

    try:
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(start, machines))
        yield Hosts(machines, folder)
    finally:
        with ThreadPoolExecutor(len(machines)) as pool:
            list(pool.map(lambda machine: run_script(HOST_SH, "down", machine.name), machines))


@contextmanager
def stack_for_hosts() -> Iterator[Stack]:
    """A stack with a gateway on this machine, logged in to by the address that machines reach it by; while `hosts` are up."""
    with stack(server_flags=["--bind", ANY_ADDRESS]) as made:
        ca = str(made.folder / "server" / "ca.pem")
        address = f"{SERVER_ADDRESS}:{made.api_port}"
        done = made.homeport("login", "--server", address, "--token", made.token, "--ca", ca)
        assert done.returncode == 0, done.stderr
        yield made


def _address(verb: str) -> None:
    """The address that every machine reaches this one by, whichever network it is in."""
    subprocess.run(["ip", "address", verb, f"{SERVER_ADDRESS}/32", "dev", "lo"], check=True)


def _fill(machine: Machine, public_key: str) -> None:
    root = machine.root
    for home, uid in ((root / "root", 0), (root / "home" / USER, 1000)):
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh" / "authorized_keys").write_text(public_key)
        for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
            os.chown(path, uid, uid)
            path.chmod(0o600 if path.is_file() else 0o700)
    _append(root / "etc/passwd", f"{USER}:x:1000:1000::/home/{USER}:/bin/bash\n")
    _append(root / "etc/group", f"{USER}:x:1000:\n")
    _append(root / "etc/shadow", f"{USER}:*:20000::::::\n")
    sudoers = root / "etc/sudoers.d" / USER
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    for kind in ("rsa", "ecdsa", "ed25519"):  # those of the base are the same everywhere
        key = root / f"etc/ssh/ssh_host_{kind}_key"
        key.unlink(missing_ok=True)
        key.with_suffix(".pub").unlink(missing_ok=True)
    key = root / "etc/ssh/ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", str(key)], check=True)
    (root / "etc/ssh/sshd_config.d/rig.conf").write_text("PasswordAuthentication no\nUseDNS no\n")
    machine.put_certificates()
    (root / "etc/pip.conf").write_text(_pip_conf())


def _pip_conf() -> str:
    """Where this machine's packages come from, as an owner of the host would have set it."""
    names = {"PIP_INDEX_URL": "index-url", "PIP_EXTRA_INDEX_URL": "extra-index-url", "PIP_TRUSTED_HOST": "trusted-host"}
    lines = [f"{key} = {os.environ[name]}" for name, key in names.items() if name in os.environ]
    return "\n".join(["[global]", "cert = /etc/outer-certificates.pem", *lines, ""])


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)
