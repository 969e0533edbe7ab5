"""Code that was sent along, as files: contents by their sha256, manifests by the code's id. Never a half one.

Covers what lies on disk (folders 0700, files 0600) and what may go. A manifest is opaque here, with the sizes of its
contents beside it. Does not cover what a manifest may say (homeport_protos.code) or who may have it (api, agents).

Every method that is awaited works in a thread. One lock holds `keep`, `is_whole` and `remove` apart: what was asked for
a moment ago is not taken away.
"""

import asyncio
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from homeport_control.domain.errors import NotReady
from homeport_control.store.incoming import Incoming, entries_of, settle, sync_folder, told, touch
from homeport_control.store.patience import finished

PIECE_BYTES = 256 * 1024
KEEP_FREE_BYTES = 256 << 20  # the database lies on the same disk
_BATCH_BYTES = 1 << 20  # read in one go of a thread
_BATCH_PIECES = 256
_CODE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KeptManifest:
    manifest: bytes
    contents: Mapping[str, int]  # size in bytes by sha256


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a content; the content is whole with the `last` one."""

    sha256: str
    data: bytes
    last: bool


class CodeStore:
    """`<directory>/manifests/<code id>`, `contents/<sha256>`, and `incoming/` for what is not whole yet."""

    def __init__(self, directory: Path, *, keep_free_bytes: int = KEEP_FREE_BYTES) -> None:
        self._directory = directory
        self._manifests, self._contents = directory / "manifests", directory / "contents"
        self._incoming = directory / "incoming"
        self._keep_free_bytes = keep_free_bytes
        self._lock = threading.Lock()

    async def keep(self, code_id: str, manifest: bytes, contents: Mapping[str, int]) -> list[str]:
        """Keep a manifest, or mark it as used now; the contents that are missing, sorted. Raises NotReady."""
        return await finished(asyncio.to_thread(self._keep, code_id, manifest, contents))

    async def get(self, code_id: str) -> KeptManifest | None:
        """None: it is not known (any more)."""
        return await finished(asyncio.to_thread(self._get, code_id))

    async def missing(self, code_id: str) -> int | None:
        """How many contents are missing, with the manifest marked as used now; None: it is not known (any more)."""
        return await finished(asyncio.to_thread(self._used, code_id))

    def incoming(self, sha256: str, size: int) -> Incoming:
        """A content of a manifest that is kept, about to come."""
        return Incoming(self._directory, sha256, size)

    async def pieces(self, sha256s: Collection[str]) -> AsyncIterator[Piece]:
        """The contents, one after the other. Raises NotReady for one that is not there."""
        with closing(self._pieces(sha256s)) as ahead:
            while batch := await finished(asyncio.to_thread(_take, ahead)):
                for piece in batch:
                    yield piece

    async def used_at_s(self) -> dict[str, float]:
        """When each code that is kept was last asked for, by code id."""
        return await finished(asyncio.to_thread(self._used_at_s))

    async def remove(self, code_ids: Collection[str], unused_since_s: float) -> int:
        """Forget manifests that nobody asked for since then, and all contents that no other one has.

        Returns how many files went. A code that was asked for meanwhile stays.
        """
        return await finished(asyncio.to_thread(self._remove, code_ids, unused_since_s))

    # --- in threads ---

    def _keep(self, code_id: str, manifest: bytes, contents: Mapping[str, int]) -> list[str]:
        with told(self._directory), self._lock:
            self._make_folders()
            path = self._manifests / code_id
            if not touch(path):
                header = json.dumps(dict(contents)).encode()
                with self._new_file() as (file, temporary):
                    file.write(header + b"\n" + manifest)
                    settle(file, temporary, path)
                sync_folder(self._manifests)
            missing = sorted(sha256 for sha256, size in contents.items() if not self._has(sha256, size))
            wanted_bytes = sum(contents[sha256] for sha256 in missing)
            free_bytes = shutil.disk_usage(self._directory).free
        if missing and wanted_bytes + self._keep_free_bytes > free_bytes:
            raise NotReady(
                f"the server has no room for this code: it needs {wanted_bytes / 1e6:.1f} MB, {free_bytes / 1e6:.0f} MB "
                f"are free and {self._keep_free_bytes / 1e6:.0f} MB of these stay free; free some space on the server"
            )
        return missing

    def _get(self, code_id: str) -> KeptManifest | None:
        if not _CODE_ID.fullmatch(code_id):
            return None
        with told(self._directory):
            try:
                header, _, manifest = (self._manifests / code_id).read_bytes().partition(b"\n")
            except FileNotFoundError:
                return None
        return KeptManifest(manifest, json.loads(header))

    def _used(self, code_id: str) -> int | None:
        with told(self._directory), self._lock:
            kept = self._get(code_id)
            if kept is None or not touch(self._manifests / code_id):
                return None
            sync_folder(self._contents)
            return sum(not self._has(sha256, size) for sha256, size in kept.contents.items())

    def _used_at_s(self) -> dict[str, float]:
        with told(self._directory):
            return {entry.name: entry.stat().st_mtime for entry in entries_of(self._manifests)}

    def _remove(self, code_ids: Collection[str], unused_since_s: float) -> int:
        removed = 0
        with told(self._directory), self._lock:
            for code_id in code_ids:
                with suppress(FileNotFoundError):
                    path = self._manifests / code_id
                    if path.stat().st_mtime < unused_since_s:
                        path.unlink()
                        removed += 1
            wanted: set[str] = set()
            for entry in entries_of(self._manifests):
                kept = self._get(entry.name)
                wanted.update(kept.contents if kept else ())
            broken_off = (entry for entry in entries_of(self._incoming) if entry.stat().st_mtime < unused_since_s)
            orphans = (entry for entry in entries_of(self._contents) if entry.name not in wanted)
            for entry in chain(orphans, broken_off):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)
                    removed += 1
        return removed

    def _pieces(self, sha256s: Collection[str]) -> Generator[Piece, None, None]:
        for sha256 in sha256s:
            try:
                with (self._contents / sha256).open("rb") as file:
                    data = file.read(PIECE_BYTES)
                    while len(data) == PIECE_BYTES and (following := file.read(PIECE_BYTES)):
                        yield Piece(sha256, data, last=False)
                        data = following
                    yield Piece(sha256, data, last=True)
            except OSError as error:
                raise NotReady(f"the server cannot read the content {sha256[:12]}: {error.strerror}") from None

    def _has(self, sha256: str, size: int) -> bool:
        try:
            return (self._contents / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def _make_folders(self) -> None:
        for folder in (self._directory, self._manifests, self._contents, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def _new_file(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A file in `incoming/`; gone at the end, unless it was moved."""
        path = self._incoming / uuid.uuid4().hex
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)


def _take(pieces: Iterator[Piece]) -> list[Piece]:
    """The next pieces, about a megabyte of them; [] at the end."""
    batch: list[Piece] = []
    taken = 0
    for piece in pieces:
        batch.append(piece)
        taken += len(piece.data)
        if taken >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
            break
    return batch
