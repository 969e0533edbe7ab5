"""The program uv, as this server was installed with it: hosts are given it, to install the agent by.

Covers finding it, the hash that its wheel says it has, and the compressed copy that is sent. A server without it, or a host
of another architecture, is no fault: pip does the same there, in about ten times the time. See also install.sh.
"""

import base64
import gzip
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

FASTEST = 1  # gzip's levels; the slowest one saves a tenth of the bytes for four times the seconds


@dataclass(frozen=True, slots=True)
class UvProgram:
    path: Path
    sha256: str  # of the program itself, not of the compressed copy
    architecture: str  # as `uname -m` says it


def find_uv() -> UvProgram | None:
    """Nothing when this Python environment has none, or one that does not tell its hash."""
    try:
        files = distribution("uv").files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if file.parent.name == "bin" and file.name == "uv" and file.hash is not None and file.hash.mode == "sha256":
            digest = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4))
            return UvProgram(Path(str(file.locate())), digest.hex(), platform.machine())
    return None


def compressed(program: UvProgram, folder: Path) -> Path:
    """Its copy in `folder`, made when it is not there. Blocking, half a second the first time. Raises OSError."""
    target = folder / f"uv-{program.sha256[:12]}.gz"
    if target.exists():
        return target
    partial = target.with_suffix(".new")
    partial.write_bytes(gzip.compress(program.path.read_bytes(), FASTEST))
    partial.replace(target)
    for other in folder.glob("uv-*.gz"):  # of an older server
        if other != target:
            other.unlink(missing_ok=True)
    return target
