"""A bundle: one file with all that a host installs, for hosts that reach no package registry.

A gzipped tar: `manifest` (first), the agent's wheel, `requirements.txt`, `install.sh`, and `wheels/`. The wheels come through
pip with the hashes of the server's list, so that nothing else can be in it. Made where a registry is reached.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from homeport_cli.errors import CliError

PYTHONS = ("3.11", "3.12", "3.13")
ARCHITECTURES = ("x86_64", "aarch64")
# Wheels for these run on every distribution that we install on (PEP 600); pip takes the newest of a list.
_GLIBCS = ("2_28", "2_17")
Fetch = Callable[[str], bytes]


def make(fetch: Fetch, target: Path, pythons: Sequence[str], architecture: str, say: Callable[[str], None]) -> str:
    """Write the bundle; its build. `fetch` gets what the server serves, by path. Raises Error; then there is no file."""
    manifest = fetch("/host/manifest")
    facts = dict(line.split(" ", 1) for line in manifest.decode().splitlines() if " " in line)
    wheel = fetch(f"/host/{facts['wheel']}")
    if hashlib.sha256(wheel).hexdigest() != facts["wheel_sha256"]:
        raise CliError("the server's wheel is not the one of its manifest: it was upgraded just now; try again")
    files = {
        "manifest": manifest,
        facts["wheel"]: wheel,
        "requirements.txt": fetch("/host/requirements.txt"),
        "install.sh": fetch("/install.sh"),
    }
    with tempfile.TemporaryDirectory(prefix="homeport-bundle-") as folder:
        requirements, wheels = Path(folder, "requirements.txt"), Path(folder, "wheels")
        requirements.write_bytes(files["requirements.txt"])
        for python in pythons:
            say(f"wheels for Python {python}, {architecture}")
            _download(requirements, wheels, python, architecture)
        partial = target.with_name(f"{target.name}.new")
        try:
            with tarfile.open(partial, "w:gz") as bundle:
                for name, content in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    bundle.addfile(member, io.BytesIO(content))
                for path in sorted(wheels.iterdir()):
                    bundle.add(path, f"wheels/{path.name}")
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise CliError(f"{target} cannot be written: {error.strerror or error}") from None
    return facts["build"]


def _download(requirements: Path, wheels: Path, python: str, architecture: str) -> None:
    platforms = [f"--platform=manylinux_{glibc}_{architecture}" for glibc in _GLIBCS]
    command = [*_pip(), "download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command += [
        "--only-binary=:all:",
        f"--python-version={python}",
        *platforms,
        f"--platform=manylinux2014_{architecture}",
    ]
    done = subprocess.run(
        [*command, "-r", str(requirements), "-d", str(wheels)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise CliError(
            f"pip could not get the wheels for Python {python} on {architecture}: {said[-1] if said else done.returncode}; "
            "check the network and pip.conf"
        )


def _pip() -> list[str]:
    """Any pip will do: it only downloads. Raises Error."""
    for command in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["uv", "tool", "run", "pip"]):
        if shutil.which(command[0]) and subprocess.run([*command, "--version"], capture_output=True).returncode == 0:
            return command
    raise CliError("there is no pip here to get the wheels with; install python3-pip, or uv")
