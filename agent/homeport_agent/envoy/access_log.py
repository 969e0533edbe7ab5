"""The access log of one gateway: `access.log`, which its Envoy writes, and the files before it (supervisor.sh keeps them).

Covers reading: whole lines from a place on, so that who counts them counts each once. Does not cover what stands in a
line (the server's xds/access_log) nor what is counted (usage). Blocking: for a thread.

A place is the file, known by its first line (each has a request's id in it, so that neither a rename nor an inode that is
used again can deceive), and the bytes of it that were read. A file is complete when a newer one is there: Envoy opens the
new one only after it has closed the old one.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FILE = "access.log"
READ_BYTES = 4 << 20  # at once
_OLDER = re.compile(r"access\.log\.[0-9]{8}")
_MARK_BYTES = 4096  # of the first line, at most
_TRIES = 5  # to open all files in a moment in which none is renamed


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a reader has come. `file` empty: nothing was read yet."""

    file: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}" if self.file else ""

    @classmethod
    def of(cls, text: str) -> "Place":
        """What `str` wrote; what it did not write is the beginning."""
        file, _, offset = text.partition(":")
        return cls(file, int(offset)) if offset.isdecimal() and offset.isascii() else cls()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines, and the place after them. `missed`: there were others before, which are not kept any more."""

    lines: list[bytes]
    place: Place
    missed: bool = False


class AccessLog:
    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir

    def is_there(self) -> bool:
        """False: this host is not that gateway, and has nothing of it any more."""
        return self._folder.is_dir()

    def read(self, place: Place, most_bytes: int = READ_BYTES) -> Piece | None:
        """What comes next; None: nothing yet. Raises OSError."""
        with self._opened() as files:
            marks = [_mark(file) for file in files]
            first, offset = 0, 0
            if place.file in marks:
                first, offset = marks.index(place.file), place.offset
            for number in range(first, len(files)):
                lines, offset = _lines(files[number], offset, most_bytes, is_complete=number + 1 < len(files))
                if lines:
                    missed = bool(place.file) and place.file not in marks
                    return Piece(lines, Place(marks[number], offset), missed)
                offset = 0
        return None

    def last(self, tail: int, wanted: Callable[[bytes], bool], newer_than_s: float = 0.0) -> tuple[list[bytes], Place]:
        """The last `tail` (-1: all) of the wanted lines, oldest first, and the place after all there are.

        Files that were last written before `newer_than_s` (unix time) are passed over. Raises OSError.
        """
        found: deque[bytes] = deque()
        end = Place()
        with self._opened() as files:
            for number in range(len(files) - 1, -1, -1):
                if end.file and os.fstat(files[number].fileno()).st_mtime < newer_than_s:
                    break
                of_file: deque[bytes] = deque(maxlen=None if tail < 0 else tail - len(found))
                offset = 0
                while True:
                    lines, after = _lines(files[number], offset, READ_BYTES, is_complete=number + 1 < len(files))
                    if not lines:
                        break
                    offset = after
                    of_file.extend(filter(wanted, lines))
                if offset and not end.file:
                    end = Place(_mark(files[number]), offset)
                found.extendleft(reversed(of_file))
                if 0 <= tail <= len(found):
                    break
        return list(found), end

    @contextmanager
    def _opened(self) -> Iterator[Sequence[BinaryIO]]:
        """All files, oldest first, as they were at one moment: a rename between listing and opening is seen."""
        for _ in range(_TRIES):
            with ExitStack() as stack:
                names = self._names()
                try:
                    files = [stack.enter_context((self._folder / name).open("rb")) for name in names]
                except FileNotFoundError:
                    continue
                if self._names() == names:
                    yield files
                    return
        yield []

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [*sorted(name for name in names if _OLDER.fullmatch(name)), *([FILE] if FILE in names else [])]


def _mark(file: BinaryIO) -> str:
    """What a file is known by; empty while it has no line."""
    file.seek(0)
    first = file.readline(_MARK_BYTES)
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") or len(first) == _MARK_BYTES else ""


def _lines(file: BinaryIO, offset: int, most_bytes: int, *, is_complete: bool) -> tuple[list[bytes], int]:
    """Whole lines from there on, without their ends, and the place after them."""
    file.seek(offset)
    data = file.read(most_bytes)
    end = data.rfind(b"\n") + 1
    if not end and (is_complete or len(data) == most_bytes):
        end = len(data)  # a line in which Envoy was killed, or one that is longer than any: let it go
    return [line for line in data[:end].split(b"\n") if line], offset + end
