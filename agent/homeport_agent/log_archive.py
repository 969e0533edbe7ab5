"""Logs of replicas whose containers are gone: kept on the host for a while, read as if the container were still there.

Covers the files: one per replica, compressed, whole or not there at all. Bounded three ways: the newest KEEP_BYTES of a
log, MAX_AGE_S, MAX_TOTAL_BYTES. Does not cover which lines a reader wants beside the last ones (logs) nor when a
container goes (work). A file: gzip members, in them a line each of time, stream and text.
"""

import asyncio
import contextlib
import gzip
import logging
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path

from homeport_agent.engine.base import Engine, EngineError, NoSuchContainer
from homeport_agent.files import sync_folder
from homeport_agent.model import LogLine

log = logging.getLogger("homeport.agent")

KEEP_BYTES = 10 * 10**6  # of text, for each replica
MAX_AGE_S = 7 * 86400.0
MAX_TOTAL_BYTES = 10**9  # on disk, all replicas together
PART_BYTES = KEEP_BYTES // 4  # what is left out goes in parts of this size
KEEP_S = 20.0  # a container's removal waits this long for its logs and no longer
PRUNE_EVERY_S = 3600.0
BATCH_BYTES = 128 * 1024
_SUFFIX = ".log.gz"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class LogArchive:
    def __init__(self, folder: Path, *, part_bytes: int = PART_BYTES, keep_s: float = KEEP_S) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._keep_s = keep_s

    async def keep(self, engine: Engine, container: str, replica_id: str) -> str:
        """Keep the logs of a container that is about to go. Returns one sentence when that failed; never raises."""
        if not _NAME.fullmatch(replica_id):
            return f"its logs are not kept: {replica_id!r} is no name for a file"
        try:
            async with asyncio.timeout(self._keep_s):
                async with engine.logs(container, tail=-1, since_s=0, follow=False) as lines:
                    await self._write(replica_id, lines)
                await asyncio.to_thread(self.prune, time.time())
        except NoSuchContainer:
            return ""
        except TimeoutError:
            return f"its logs are not kept: reading them took longer than {self._keep_s:g} s"
        except (EngineError, OSError) as error:
            return f"its logs are not kept: {error}"
        return ""

    def has(self, replica_id: str) -> bool:
        return bool(_NAME.fullmatch(replica_id)) and self._path(replica_id).is_file()

    async def read(
        self, replica_id: str, *, tail: int, wanted: Callable[[LogLine], bool]
    ) -> AsyncGenerator[list[LogLine], None]:
        """The last `tail` (-1: all) of the wanted lines, oldest first, in batches. Raises OSError."""
        skipped = 0
        if tail >= 0:
            skipped = await asyncio.to_thread(self._count, replica_id, wanted) - tail
        reading = self._batches(replica_id, max(0, skipped), wanted)
        try:
            while tail != 0 and (batch := await asyncio.to_thread(next, reading, None)) is not None:
                yield batch
        finally:
            reading.close()

    async def run(self) -> None:
        """Forget what is too old, now and then, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.prune, time.time(), is_start=True)
            except OSError as error:
                log.warning("kept logs cannot be looked through: %s", error)
            await asyncio.sleep(PRUNE_EVERY_S)

    def prune(self, now_s: float, *, is_start: bool = False) -> None:
        """Blocking. Raises OSError."""
        kept: list[tuple[str, float, int]] = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                if path.name.endswith(_SUFFIX):
                    kept.append((path.name, about.st_mtime, about.st_size))
                elif is_start and now_s - about.st_mtime > PRUNE_EVERY_S:  # left over from an agent that was killed
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        for name in too_many(kept, now_s):
            (self._folder / name).unlink(missing_ok=True)

    def _path(self, replica_id: str) -> Path:
        return self._folder / f"{replica_id}{_SUFFIX}"

    # --- writing ---

    async def _write(self, replica_id: str, lines: AsyncIterator[LogLine]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = _Parts(Path(tempfile.mkdtemp(prefix=".keeping-", dir=self._folder)), self._part_bytes)
        try:
            batch: list[bytes] = []
            size = 0
            async for line in lines:
                batch.append(b"%b %b %b\n" % (line.timestamp.encode(), line.stream[3:4].encode(), line.text))
                size += len(batch[-1])
                if size >= BATCH_BYTES:
                    await asyncio.to_thread(parts.add, b"".join(batch))
                    batch, size = [], 0
            await asyncio.to_thread(parts.add, b"".join(batch))
            await asyncio.to_thread(parts.finish, self._path(replica_id))
        finally:
            parts.close()

    # --- reading, in threads ---

    def _lines(self, replica_id: str) -> Iterator[LogLine]:
        with gzip.open(self._path(replica_id), "rb") as file:
            for row in file:
                stamp, _, rest = row.removesuffix(b"\n").partition(b" ")
                kind, _, text = rest.partition(b" ")
                yield LogLine(text, "stderr" if kind == b"e" else "stdout", stamp.decode("ascii", "replace"))

    def _count(self, replica_id: str, wanted: Callable[[LogLine], bool]) -> int:
        return sum(map(wanted, self._lines(replica_id)))

    def _batches(
        self, replica_id: str, skipped: int, wanted: Callable[[LogLine], bool]
    ) -> Generator[list[LogLine], None, None]:
        batch: list[LogLine] = []
        size = 0
        for line in self._lines(replica_id):
            if not wanted(line):
                continue
            if skipped:
                skipped -= 1
                continue
            batch.append(line)
            size += len(line.text) + 100
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


class _Parts:
    """The newest parts of a log while it is written, each a gzip member of its own: members one after the other are a file."""

    def __init__(self, folder: Path, part_bytes: int) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._paths: deque[Path] = deque()
        self._count = 0
        self._file: gzip.GzipFile | None = None
        self._size = 0

    def add(self, data: bytes) -> None:
        file = self._file
        if file is None or self._size >= self._part_bytes:
            file = self._next()
        file.write(data)
        self._size += len(data)

    def finish(self, target: Path) -> None:
        """Put them together beside the target, then make them the target."""
        if self._file is not None:
            self._file.close()
        whole = self._folder / "whole"
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for path in self._paths:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(whole, target)
        sync_folder(target.parent)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError, ValueError):  # a full disk; the folder goes all the same
                self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _next(self) -> gzip.GzipFile:
        if self._file is not None:
            self._file.close()
        self._count += 1
        path = self._folder / str(self._count)
        made = gzip.GzipFile(path, "wb", compresslevel=1)
        self._file, self._size = made, 0
        self._paths.append(path)
        while len(self._paths) > KEEP_BYTES // PART_BYTES + 1:  # the newest is not full yet
            self._paths.popleft().unlink()
        return made


def too_many(kept: Iterable[tuple[str, float, int]], now_s: float) -> list[str]:
    """PURE: names to forget, of (name, when it was written, bytes): the too old, then the oldest until the rest fits."""
    gone: list[str] = []
    total = 0
    for name, written_s, size in sorted(kept, key=lambda it: -it[1]):
        if now_s - written_s > MAX_AGE_S or total + size > MAX_TOTAL_BYTES:
            gone.append(name)
        else:
            total += size
    return gone
