"""Docker's multiplexed log stream as lines.

Covers frames (8 bytes: stream, length), times, and lines that Docker gives in pieces; a line that is longer than
LINE_BYTES is cut and says so. Does not cover opening the stream (docker).
"""

import io
from collections.abc import Iterator
from struct import Struct
from typing import Any

from homeport_agent.model import LogLine

LINE_BYTES = 64 * 1024
_BUFFER_BYTES = 64 * 1024
_HEADER = Struct(">BxxxL")
_STREAMS = {1: "stdout", 2: "stderr"}


class _Open:
    """A line whose end has not come yet."""

    def __init__(self, stamp: bytes) -> None:
        self.stamp = stamp
        self._pieces: list[bytes] = []
        self._kept = 0
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._kept < LINE_BYTES:
            piece = piece[: LINE_BYTES - self._kept]
            self._kept += len(piece)
            self._pieces.append(piece)

    def line(self, kind: int) -> LogLine:
        text = b"".join(self._pieces)
        if self._size > self._kept:
            text += f" … [cut: the line has {self._size} bytes]".encode()
        return LogLine(text, _STREAMS.get(kind, "stdout"), self.stamp.decode("ascii", "replace"))


def log_lines(raw: Any) -> Iterator[LogLine]:
    """The lines of a response's body, as they come; the last one may lack its end. `raw`: urllib3's response."""
    source = io.BufferedReader(_Readable(raw), _BUFFER_BYTES)
    is_open: dict[int, _Open] = {}
    while len(header := source.read(8)) == 8:
        kind, size = _HEADER.unpack(header)
        for piece in _pieces(source.read(size)):
            # Every piece has its line's time before it, also the second and later ones of a long line.
            stamp, _, text = piece.partition(b" ")
            line = is_open.get(kind)
            if line is None:
                line = is_open[kind] = _Open(stamp)
            has_end = text.endswith(b"\n")
            line.add(text[:-1] if has_end else text)
            if has_end:
                del is_open[kind]
                yield line.line(kind)
    for kind, line in is_open.items():
        yield line.line(kind)


def _pieces(data: bytes) -> list[bytes]:
    if data.find(b"\n", 0, -1) < 0:  # what Docker does: one line or less in a frame
        return [data]
    *whole, rest = data.split(b"\n")
    return [piece + b"\n" for piece in whole] + ([rest] if rest else [])


class _Readable(io.RawIOBase):
    """What is there already, rather than a whole buffer: a followed log must not wait for more than it needs."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)
