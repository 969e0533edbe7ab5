"""A fresh machine for a test, over host.sh: a minimal Debian in namespaces of its own, with a copy of this checkout.

Covers making it, running commands in it, power loss and what is left in it. Several machines that are prepared hosts: see
hosts.py. Not covered: GPUs.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
HOST_SH = Path(__file__).with_name("host.sh")
FAULTS_SH = Path(__file__).with_name("faults.sh")
CACHE = Path(os.environ.get("HOMEPORT_TEST_CACHE", "/var/cache/homeport-tests"))
HOSTS = CACHE / "hosts"
DOCKER_S = 30.0
SOURCE = "/opt/src"  # where the checkout lies inside
# What this machine itself trusts: a company's registry may be signed by a company's authority.
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
_CERTIFICATES_INSIDE = "/etc/outer-certificates.pem"


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    number: int  # of its network, 10.78.number.0/30
    mode: str  # its first process: systemd, or plain for a mere shell
    base: str = "bookworm"  # what lies on its disk, one of BASES

    @property
    def address(self) -> str:
        return f"10.78.{self.number}.2"

    @property
    def root(self) -> Path:
        """Its disk, seen from outside."""
        return HOSTS / self.name / "root"

    def run(
        self, *command: str, check: bool = True, timeout_s: float = 240, env: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it. With `check`, a failure is an AssertionError that shows all that it said."""
        argv = [str(HOST_SH), "exec", self.name, *registry_environment(), *env, *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s, env=_outer())
        if check:
            assert done.returncode == 0, (
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def start(self, *command: str, stdin: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin a command in it; its output is a pipe."""
        argv = [str(HOST_SH), "exec", self.name, *registry_environment(), *command]
        return subprocess.Popen(
            argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_outer()
        )

    def shell(self, script: str, *, check: bool = True) -> str:
        return self.run("sh", "-c", script, check=check).stdout

    def processes(self) -> dict[int, str]:
        """Command lines of what runs in it, without its first process and this look itself."""
        script = 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\\0" " " <$p/cmdline 2>/dev/null)"; done'
        rows = (line.partition(" ") for line in self.shell(script).splitlines())
        return {int(pid): line for pid, _, line in rows if line and pid != "1" and "/proc/[0-9]*" not in line}

    def files(self, pattern: str) -> set[str]:
        """Paths on its disk that match find's `-iname pattern`, without the checkout."""
        script = f"find / -xdev -iname '{pattern}' -not -path '{SOURCE}*' -not -path '/proc/*' -not -path '/sys/*'"
        return set(self.shell(script).split())

    def cpu_s(self) -> float:
        """What its processes have used since it started."""
        group = f"homeport-test-{self.name}"
        counter = Path("/sys/fs/cgroup/cpuacct", group, "cpuacct.usage")
        if counter.exists():
            return int(counter.read_text()) / 1e9
        return int(Path("/sys/fs/cgroup", group, "cpu.stat").read_text().split()[1]) / 1e6  # usage_usec is the first

    def power_loss(self) -> None:
        """Everything in it dies at once; then it boots again from the same disk."""
        self.kill()
        self.boot()

    def kill(self) -> None:
        """Power loss: everything in it dies at once."""
        _host("kill", self.name)

    def off(self) -> None:
        """A clean shutdown."""
        _host("off", self.name)

    def boot(self) -> None:
        _host("up", self.name, str(base_root(self.base)), self.mode, str(self.number))

    def fault(self, what: str, *arguments: object) -> None:
        """See faults.sh: cut, mend, unplug, plug, slow, fast, hang, go and so on."""
        run_script(FAULTS_SH, what, self.name, *map(str, arguments))

    def load_image(self, image: str) -> None:
        """An image of this machine's Docker, into its own; waits until that answers."""
        until_s = time.monotonic() + DOCKER_S
        while self.run("docker", "version", check=False).returncode != 0:
            assert time.monotonic() < until_s, f"Docker on {self.name} does not answer within {DOCKER_S:g} s"
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
            argv = [str(HOST_SH), "exec", self.name, "docker", "load"]
            subprocess.run(argv, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True, timeout=120, env=_outer())

    def put_checkout(self) -> None:
        """A copy of the working tree, as a clone of it would be: nothing that git ignores."""
        target = self.root / SOURCE.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        kept = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).is_file())
        with subprocess.Popen(["tar", "--null", "-T", "-", "-c"], cwd=ROOT, stdin=-1, stdout=-1) as packer:
            assert packer.stdin is not None
            packer.stdin.write(kept)  # a few kilobytes: the pipe holds them
            packer.stdin.close()
            subprocess.run(["tar", "-x", "-C", str(target)], stdin=packer.stdout, check=True)
        self.put_certificates()

    def put_certificates(self) -> None:
        """What this machine trusts, where `registry_environment` says that it is."""
        if CERTIFICATES.exists():
            (self.root / _CERTIFICATES_INSIDE.lstrip("/")).write_bytes(CERTIFICATES.read_bytes())


@contextmanager
def machine(name: str, number: int, mode: str) -> Iterator[Machine]:
    """A fresh machine with the checkout, gone afterwards; one that an earlier run left behind goes first."""
    _host("down", name)
    try:
        made = Machine(name, number, mode)
        made.boot()
        made.put_checkout()
        yield made
    finally:
        _host("down", name)


# What lies on a disk, with its packages beside a minimal Debian with systemd.
BASES = {
    "bookworm": (),
    "host": (
        *("openssh-server", "sudo", "docker.io", "iptables", "iproute2", "procps", "ca-certificates", "curl"),
        *("python3", "python3-venv"),
    ),
}


def base_root(name: str = "bookworm") -> Path:
    """A Debian as a tar file, made once per machine (half a minute)."""
    path = CACHE / f"{name}.tar"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _host("base", "bookworm", str(path), *BASES[name])
    return path


def registry_environment() -> list[str]:
    """How this machine reaches the package registries, for the inside: settings by variables, and its certificates."""
    names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "PIP_TRUSTED_HOST")
    proxies = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    settings = [f"{name}={os.environ[name]}" for name in (*names, *proxies) if name in os.environ]
    if CERTIFICATES.exists():
        settings += [f"SSL_CERT_FILE={_CERTIFICATES_INSIDE}", f"PIP_CERT={_CERTIFICATES_INSIDE}"]
    return settings


def _host(*arguments: str) -> None:
    run_script(HOST_SH, *arguments)


def run_script(script: Path, *arguments: str) -> None:
    """One of this folder's. A failure is an AssertionError that shows all that it said."""
    done = subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, check=False, timeout=240, env=_outer()
    )
    assert done.returncode == 0, f"{script.name} {' '.join(arguments)}:\n{done.stdout}{done.stderr}"


def _outer() -> dict[str, str]:
    return {**os.environ, "HOMEPORT_TEST_HOSTS": str(HOSTS)}
