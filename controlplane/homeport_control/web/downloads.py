"""What a host downloads: the install script, the agent's wheel, the list of what that needs, uv, and maybe a bundle.

The *build* names them all by their content: a host that has it has nothing to do. The manifest is `KEY VALUE` lines, which
a shell can read.
"""

import hashlib
import importlib.resources
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from homeport_control.domain.errors import BadRequest
from homeport_control.web.agent_wheel import build_wheel
from homeport_control.web.uv_program import UvProgram, find_uv

BUNDLE = "bundle.tar.gz"
MAX_MANIFEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Downloads:
    version: str
    script: bytes
    requirements: bytes
    wheel_name: str
    wheel: bytes
    bundle: Path  # may not exist
    link_port: int  # where agents hold their sessions
    uv: UvProgram | None = None

    @property
    def build(self) -> str:
        """12 hex digits."""
        whole = hashlib.sha256()
        for content in (self.script, self.requirements, self.wheel):
            whole.update(hashlib.sha256(content).digest())
        return whole.hexdigest()[:12]

    @property
    def script_sha256(self) -> str:
        return hashlib.sha256(self.script).hexdigest()

    def manifest(self) -> str:
        """Of what is served now; with `bundle yes` when all that it needs is served too."""
        lines = {
            "version": self.version,
            "build": self.build,
            "wheel": self.wheel_name,
            "wheel_sha256": hashlib.sha256(self.wheel).hexdigest(),
            "link_port": str(self.link_port),
        }
        if self.uv is not None:
            lines[f"uv_{self.uv.architecture}"] = self.uv.sha256
        if bundled_build(self.bundle) == self.build:  # one of an older server would not do
            lines["bundle"] = "yes"
        return "".join(f"{key} {value}\n" for key, value in lines.items())


def bundled_build(bundle: Path) -> str:
    """The build that a bundle is of; empty: it is none."""
    try:
        with tarfile.open(bundle) as archive:
            first = archive.next()
            content = archive.extractfile(first) if first is not None and first.name == "manifest" else None
            text = content.read(MAX_MANIFEST_BYTES).decode() if content else ""
    except (OSError, tarfile.TarError, UnicodeDecodeError, EOFError):
        return ""
    return next((line.removeprefix("build ") for line in text.splitlines() if line.startswith("build ")), "")


def add_bundle(bundle: Path, state_dir: Path, build: str) -> None:
    """Serve it from now on. Raises BadRequest for one that is not of this server's build, OSError."""
    found = bundled_build(bundle)
    if found != build:
        what = f"the agent {found}" if found else "nothing that we know"
        raise BadRequest(f"{bundle} holds {what}, this server's is {build}; make it anew: homeport bundle")
    target = state_dir / BUNDLE
    partial = target.with_suffix(".new")
    shutil.copyfile(bundle, partial)
    partial.replace(target)


def collect(version: str, state_dir: Path, link_port: int) -> Downloads:
    """Blocking."""
    files = importlib.resources.files("homeport_control.web")
    wheel_name, wheel = build_wheel()
    return Downloads(
        version=version,
        script=(files / "install.sh").read_bytes(),
        requirements=(files / "requirements.txt").read_bytes(),
        wheel_name=wheel_name,
        wheel=wheel,
        bundle=state_dir / BUNDLE,
        link_port=link_port,
        uv=find_uv(),
    )
