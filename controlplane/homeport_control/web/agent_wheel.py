"""The agent as a wheel, made of the very packages that this server was installed with: agent and server always match.

Works for an installed distribution and for a checkout. The wheel holds agent, command line and protocol, nothing of the
server. The same content gives the same bytes, so that its hash says which build it is.
Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

PACKAGES = ("homeport_agent", "homeport_cli", "homeport", "homeport_protos")
_WHEEL = b"Wheel-Version: 1.0\nGenerator: homeport\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that a zip file can tell


def build_wheel() -> tuple[str, bytes]:
    """Its file name, and its content. Blocking: reads some hundred files."""
    installed = distribution("homeport")
    info = f"homeport-{installed.version}.dist-info"
    entries = dict(_modules())
    entries[f"{info}/METADATA"] = (installed.read_text("METADATA") or "").encode()
    entries[f"{info}/entry_points.txt"] = (installed.read_text("entry_points.txt") or "").encode()
    entries[f"{info}/WHEEL"] = _WHEEL
    record = "".join(f"{name},sha256={_hash(content)},{len(content)}\n" for name, content in sorted(entries.items()))
    entries[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in sorted(entries.items()):
            wheel.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return f"homeport-{installed.version}-py3-none-any.whl", target.getvalue()


def _modules() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"{package} is not installed beside the server")
        folder = Path(spec.submodule_search_locations[0])
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
