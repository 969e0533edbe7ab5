"""Files of code on their way in: whole on the disk before they have a name, and errors of the disk in words."""

import asyncio
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from homeport_control.domain.errors import BadRequest, NotReady
from homeport_control.store.patience import finished


class Incoming:
    """One content on its way in. As a context manager: what is not whole at the end is gone."""

    def __init__(self, directory: Path, sha256: str, size: int) -> None:
        """`directory`: of the store, with its folders `incoming` and `contents`."""
        self.sha256 = sha256
        self._directory = directory
        self._size = size
        self._taken = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._path = directory / "incoming" / uuid.uuid4().hex

    async def __aenter__(self) -> "Incoming":
        return self

    async def __aexit__(self, *_: object) -> None:
        await finished(asyncio.to_thread(self._drop))

    async def take(self, data: bytes, *, last: bool) -> None:
        """The next piece; with the last one it is kept. Raises BadRequest when it is not what it says, NotReady."""
        self._taken += len(data)
        if self._taken > self._size:
            raise BadRequest(
                f"the content {self.sha256[:12]} has more than its {self._size} bytes; nothing of it is kept"
            )
        if last and self._taken < self._size:
            raise BadRequest(
                f"the content {self.sha256[:12]} ended after {self._taken} of {self._size} bytes; "
                "a file changed while it was sent: run the command again"
            )
        await finished(asyncio.to_thread(self._take, data, last))

    def _take(self, data: bytes, last: bool) -> None:
        with told(self._directory):
            if self._file is None:
                descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                self._file = os.fdopen(descriptor, "wb")
            self._file.write(data)
            self._digest.update(data)
            if not last:
                return
            if self._digest.hexdigest() != self.sha256:
                raise BadRequest(
                    f"the content {self.sha256[:12]} is not what its hash says; "
                    "a file changed while it was sent: run the command again"
                )
            settle(self._file, self._path, self._directory / "contents" / self.sha256)

    def _drop(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk: what was buffered cannot be written, and need not be
                self._file.close()
            self._path.unlink(missing_ok=True)


@contextmanager
def told(directory: Path) -> Iterator[None]:
    """Errors of the disk as NotReady, in one line."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotReady(f"the server's disk is full: code cannot be kept; free some space for {directory}") from None
        raise NotReady(f"the server cannot use {directory}: {error.strerror}") from None


def settle(file: BinaryIO, temporary: Path, path: Path) -> None:
    """Under its own name only when it is whole on the disk."""
    file.flush()
    os.fsync(file.fileno())
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """So that a file's name outlives a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def touch(path: Path) -> bool:
    """Mark as used now; False: it is not there."""
    now_s = time.time()
    try:
        os.utime(path, (now_s, now_s))
    except FileNotFoundError:
        return False
    return True


def entries_of(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
