"""Manifests and contents of code on this host's disk, by their hashes.

    code/manifests/<code id>   as it came, checked; its time says when it was last used
    code/contents/ab/<sha256>  each once, whichever code has it
    code/incoming/             what has not come whole

Covers keeping and reading; blocking. Nothing is synced to the disk: a size is looked at before use and the hash
while it is read, so what a power loss spoils is fetched again. Does not cover fetching (fetch), nor what may go (keep).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from homeport_protos import code
from homeport_protos.common.v1.code_pb2 import CodeManifest

from homeport_agent.code.base import CodeDamaged
from homeport_agent.files import write_atomically

_PIECE_BYTES = 256 * 1024


class Incoming:
    """One content that is being received. `add` gives it away when it is whole."""

    def __init__(self, cache: "CodeCache", sha256: str, size: int) -> None:
        self.sha256 = sha256
        self._cache = cache
        self._size = size
        self._got = 0
        self._hash = hashlib.sha256()
        self._name = ""
        self._file: BinaryIO | None = None

    def add(self, data: bytes, *, is_last: bool) -> None:
        """Raises CodeDamaged when it is more, less or other than it should be; OSError."""
        self._got += len(data)
        if self._got > self._size or (is_last and self._got < self._size):
            raise CodeDamaged(f"content {self.sha256[:12]} came with {self._got} bytes, it should have {self._size}")
        self._hash.update(data)
        if self._file is None:
            self._name, self._file = self._cache.temporary()
        self._file.write(data)
        if not is_last:
            return
        if self._hash.hexdigest() != self.sha256:
            raise CodeDamaged(f"content {self.sha256[:12]} came with another hash")
        self._file.close()
        self._cache.take(Path(self._name), self.sha256)
        self._file = None

    def drop(self) -> None:
        """Forget what has come of it; nothing when it came whole."""
        if self._file is not None:
            self._file.close()
            with suppress(OSError):
                os.unlink(self._name)


class CodeCache:
    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "code"
        self._manifests = self._folder / "manifests"
        self._contents = self._folder / "contents"
        self._incoming = self._folder / "incoming"

    @property
    def folder(self) -> Path:
        return self._folder

    # --- manifests ---

    def manifest(self, code_id: str) -> CodeManifest | None:
        """None when there is none, or none that is what its name says. Raises OSError."""
        path = self._manifests / code_id
        try:
            manifest = CodeManifest.FromString(path.read_bytes())
        except FileNotFoundError:
            return None
        except DecodeError:
            manifest = None
        if manifest is None or code.code_id(manifest) != code_id:
            path.unlink(missing_ok=True)
            return None
        return manifest

    def keep_manifest(self, code_id: str, manifest: CodeManifest) -> None:
        """One that was checked. Raises OSError."""
        self._make(self._manifests)
        write_atomically(self._manifests / code_id, manifest.SerializeToString())

    def used(self, code_id: str) -> None:
        """Note that it is used now."""
        with suppress(OSError):
            os.utime(self._manifests / code_id)

    def manifests(self) -> dict[str, float]:
        """When each was last used, in unix time."""
        return _times(self._manifests)

    # --- contents ---

    def missing(self, manifest: CodeManifest) -> dict[str, int]:
        """Size by sha256 of the contents that are not here whole."""
        return {sha: size for sha, size in code.contents(manifest).items() if self._size(sha) != size}

    def receive(self, sha256: str, size: int) -> Incoming:
        return Incoming(self, sha256, size)

    def read(self, sha256: str) -> Iterator[bytes]:
        """In pieces, checked. Raises CodeDamaged; then it is here no more, to be fetched again."""
        path, digest = self._path(sha256), hashlib.sha256()
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                    yield piece
        except FileNotFoundError:
            raise CodeDamaged(f"content {sha256[:12]} is gone from {self._folder}") from None
        if digest.hexdigest() != sha256:
            path.unlink(missing_ok=True)
            raise CodeDamaged(f"content {sha256[:12]} in {self._folder} was damaged")

    def contents(self) -> dict[str, float]:
        """When each came, in unix time."""
        try:
            folders = [entry.path for entry in os.scandir(self._contents)]
        except FileNotFoundError:
            return {}
        return {sha: came_s for folder in folders for sha, came_s in _times(Path(folder)).items()}

    # --- going ---

    def remove_manifest(self, code_id: str) -> None:
        (self._manifests / code_id).unlink(missing_ok=True)

    def remove_content(self, sha256: str) -> int:
        """The bytes that this freed."""
        path = self._path(sha256)
        size = self._size(sha256)
        path.unlink(missing_ok=True)
        return max(0, size)

    def remove_incoming(self) -> None:
        """What an earlier process was receiving when it ended."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    # --- inside ---

    def temporary(self) -> tuple[str, BinaryIO]:
        """A file of nobody else's, and its name."""
        self._make(self._incoming)
        handle, name = tempfile.mkstemp(dir=self._incoming)  # 0600
        return name, os.fdopen(handle, "wb")

    def take(self, path: Path, sha256: str) -> None:
        """A whole content moves in."""
        target = self._path(sha256)
        self._make(target.parent)
        os.replace(path, target)

    def _path(self, sha256: str) -> Path:
        return self._contents / sha256[:2] / sha256

    def _size(self, sha256: str) -> int:
        try:
            return self._path(sha256).stat().st_size
        except OSError:
            return -1

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        for it in (self._folder, *([folder.parent] if folder.parent == self._contents else []), folder):
            it.mkdir(mode=0o700, parents=True, exist_ok=True)


def _times(folder: Path) -> dict[str, float]:
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):  # one that is being written
                with suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_mtime
    return found
