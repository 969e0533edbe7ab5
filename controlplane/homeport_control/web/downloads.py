"""What a host downloads: the install script, the agent's wheel, the list of what that needs, and a bundle when there is one.

The *build* names them all by their content: a host that has it has nothing to do. The manifest is `KEY VALUE` lines, which
a shell can read.
"""

import hashlib
import importlib.resources
from dataclasses import dataclass
from pathlib import Path

from homeport_control.web.agent_wheel import build_wheel

BUNDLE = "bundle.tar.gz"


@dataclass(frozen=True, slots=True)
class Downloads:
    version: str
    script: bytes
    requirements: bytes
    wheel_name: str
    wheel: bytes
    bundle: Path  # may not exist
    link_port: int  # where agents hold their sessions

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
        if self.bundle.exists():
            lines["bundle"] = "yes"
        return "".join(f"{key} {value}\n" for key, value in lines.items())


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
    )
