"""Makes the default image on this machine: from a distribution's archive where no registry is, or from a Dockerfile.

Covers the steps, each one line on standard error, and leaves nothing half behind: what is made lies in a folder of its own
until `docker import` takes it whole. Does not cover which archive (suites) nor GPU libraries, which only the Dockerfiles have.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from homeport.errors import one_line

from homeport_cli.errors import CliError, UsageError
from homeport_cli.images import suites

REPOSITORY = "homeport/base"
VENV = "/opt/python"
VARIANTS = ("", "cuda", "nvcc")
PACKAGES = ("python3", "python3-venv", "ca-certificates", "curl", "git", "procps")
COMPILER = ("python3-dev", "gcc", "g++", "make")  # what GPU libraries compile with while they run
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
SETTINGS = {
    "PATH": f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "VIRTUAL_ENV": VENV,
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
GPU_SETTINGS = {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}  # the libraries that the host's driver lends
BOOTSTRAP_S, IMPORT_S, UV_S, ASK_S = 3600.0, 900.0, 300.0, 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to make. `variant`: empty, `cuda` (for services with GPUs) or `nvcc`."""

    python: str
    tag: str = ""
    variant: str = ""
    mirror: str = ""
    from_registry: bool = False

    @property
    def image(self) -> str:
        """As the server's default template names it."""
        return self.tag or f"{REPOSITORY}:py{self.python}{'-' + self.variant if self.variant else ''}"


def build(wish: Wish, say: Say, *, dry_run: bool = False) -> str:
    """The name of the image, which Docker has then. Raises Error."""
    if wish.variant not in VARIANTS:
        raise UsageError(f"there is no variant {wish.variant!r}: cuda and nvcc, or none")
    if wish.from_registry:
        return _from_dockerfile(wish, say, dry_run=dry_run)
    if wish.variant == "nvcc":
        raise UsageError("CUDA's compiler is in no distribution's archive; add --from-registry, or use --variant cuda")
    suite = suites.choose(wish.python, suites.own_codename())
    sources = suites.sources_of(suite, suites.own_sources(), wish.mirror)
    say(f"{wish.image}: Python {wish.python} of {suite.archive.name} {suite.name}, from {sources[0].uri}")
    if dry_run:
        folder = Path("FOLDER")
        say(f"would run: {' '.join(_bootstrap(wish, suite, folder, with_uv=True))}")
        say(f"would run: {' '.join(_import(wish, folder))}")
        return wish.image
    _check(suite)
    with tempfile.TemporaryDirectory(prefix="homeport-image-") as name:
        folder = Path(name)
        with_uv = _fetch_uv(folder, say)
        say(f"packages: {', '.join(_packages(wish))}, and what they need; this takes a minute or two")
        lines = "".join(f"{source.line}\n" for source in sources)
        _run(_bootstrap(wish, suite, folder, with_uv=with_uv), BOOTSTRAP_S, stdin=lines, env=_proxies())
        before = _image_id(wish.image)
        _run(_import(wish, folder), IMPORT_S)
    if before and before != _image_id(wish.image):  # nobody can name it any more; kept where a container still uses it
        _ask("docker", "image", "rm", before)
    say(f"image {wish.image} is made ({_size_mb(wish.image)} MB)")
    return wish.image


def _from_dockerfile(wish: Wish, say: Say, *, dry_run: bool) -> str:
    file = dockerfiles() / ("Dockerfile" + (f".{wish.variant}" if wish.variant else ""))
    command = ["docker", "build", "--pull", "--build-arg", f"PYTHON={wish.python}", "-t", wish.image]
    command += ["-f", str(file), str(file.parent)]
    say(f"{wish.image}: Python {wish.python}, from {file.name}")
    if dry_run:
        say(f"would run: {' '.join(command)}")
        return wish.image
    _need_docker()
    _run(command, BOOTSTRAP_S)
    say(f"image {wish.image} is made ({_size_mb(wish.image)} MB)")
    return wish.image


def dockerfiles() -> Path:
    """Where the Dockerfiles lie: inside the package, or in the checkout that runs."""
    for folder in (Path(__file__).with_name("base"), Path(__file__).parents[3] / "agent" / "images" / "base"):
        if (folder / "Dockerfile").is_file():
            return folder
    raise CliError("the Dockerfiles are not in this installation; install homeport again")


def _check(suite: suites.Suite) -> None:
    """Before anything begins: all that could stop it later. Raises Error."""
    if os.geteuid() != 0:
        raise CliError("making an image from packages needs root: run it with sudo")
    if shutil.which("mmdebstrap") is None:
        raise CliError("mmdebstrap is not installed; install it with: apt-get install mmdebstrap")
    suites.need_keyring(suite)
    _need_docker()


def _need_docker() -> None:
    if shutil.which("docker") is None:
        raise CliError("the command docker is not installed here; install Docker and run this again")
    answer = _ask("docker", "version", "--format", "{{.Server.Version}}")
    if answer.returncode != 0:
        raise CliError(f"Docker does not answer: {_last_line(answer.stderr)}; start it with: systemctl start docker")


def _packages(wish: Wish) -> tuple[str, ...]:
    return (*PACKAGES, *(COMPILER if wish.variant else ()))


def _bootstrap(wish: Wish, suite: suites.Suite, folder: Path, *, with_uv: bool) -> list[str]:
    hooks = [f'chroot "$1" python3 -m venv {VENV}', 'mkdir -p "$1/workflow"']
    if with_uv:
        hooks.append(f"copy-in {folder}/uv/bin/uv {folder}/uv/bin/uvx /usr/local/bin")
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(_packages(wish))}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(f"--customize-hook={hook}" for hook in hooks),
        suite.name,
        f"{folder}/root.tar",
        "-",
    ]


def _import(wish: Wish, folder: Path) -> list[str]:
    settings = {**SETTINGS, **(GPU_SETTINGS if wish.variant else {})}
    changes = [f"ENV {' '.join(f'{key}={value}' for key, value in settings.items())}", "WORKDIR /workflow"]
    changes.append('CMD ["bash"]')
    return [
        "docker",
        "import",
        *(part for change in changes for part in ("-c", change)),
        f"{folder}/root.tar",
        wish.image,
    ]


def _fetch_uv(folder: Path, say: Say) -> bool:
    """uv by the pip or uv of this machine, whose settings know the way to a package index. False: made without it."""
    target = str(folder / "uv")
    ways = [[sys.executable, "-m", "pip", "install"]] if find_spec("pip") else []
    ways += [[found, "pip", "install"] for found in (shutil.which("uv"),) if found]
    ways += [[found, "-m", "pip", "install"] for found in ("/usr/bin/python3",) if Path(found).exists()]
    why = "there is neither pip nor uv on this machine"
    for way in ways:
        with suppress(OSError, subprocess.TimeoutExpired):
            done = _ask(*way, "--quiet", "--no-deps", "--target", target, "uv", limit_s=UV_S)
            if done.returncode == 0 and (folder / "uv" / "bin" / "uv").is_file():
                version = _ask(f"{target}/bin/uv", "--version").stdout.strip() or "uv"
                say(f"{version} by {Path(way[0]).name}")
                return True
            why = _last_line(done.stderr)
        shutil.rmtree(target, ignore_errors=True)
    say(f"warning: uv cannot be fetched ({why}); the image is made without it, its pip is there")
    return False


def _proxies() -> dict[str, str]:
    """The proxy of APT's settings, where the environment names none."""
    found = dict(os.environ)
    for scheme in ("http", "https"):
        if f"{scheme}_proxy" in found or shutil.which("apt-config") is None:
            continue
        shown = _ask("apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy").stdout.strip()
        if shown and shown != "DIRECT":
            found[f"{scheme}_proxy"] = shown
    return found


def _image_id(image: str) -> str:
    return _ask("docker", "image", "inspect", "--format", "{{.Id}}", image).stdout.strip()


def _size_mb(image: str) -> str:
    shown = _ask("docker", "image", "inspect", "--format", "{{.Size}}", image).stdout.strip()
    return f"{int(shown) / 1e6:.0f}" if shown.isdecimal() else "?"


def _ask(*command: str, limit_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s, errors="replace")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {limit_s:g} s")


def _run(command: Sequence[str], limit_s: float, *, stdin: str = "", env: Mapping[str, str] | None = None) -> None:
    """Run one step. However it ends, its process has ended too. Raises Error with the last line that it said."""
    with subprocess.Popen(
        command, stdin=-1, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
    ) as process:
        try:
            said, _ = process.communicate(stdin, timeout=limit_s)
        except subprocess.TimeoutExpired:
            _end(process)
            raise CliError(
                f"{command[0]} did not end within {limit_s / 60:g} minutes; is the network very slow?"
            ) from None
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise CliError(f"{command[0]} failed: {_reason(said)}", details=said.splitlines()[-12:])


def _end(process: "subprocess.Popen[str]") -> None:
    """SIGTERM first: mmdebstrap takes its own folder away then."""
    process.terminate()
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return one_line(lines[-1])[:300] if lines else "it said nothing"


def _reason(text: str) -> str:
    """The first line that names an error: what follows it are consequences."""
    lines = [line.strip() for line in text.splitlines()]
    return next((one_line(line)[:300] for line in lines if line.startswith(("E:", "ERROR", "Error"))), _last_line(text))
