import struct
from collections.abc import Sequence

import pytest
from homeport_agent.engine.loglines import LINE_BYTES, log_lines

STAMP = b"2026-11-23T10:00:00.000000001Z "
NOW = STAMP.strip().decode()


class Raw:
    """A response's body that comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._data = list(pieces)

    def read1(self, size: int) -> bytes:
        if not self._data:
            return b""
        piece = self._data.pop(0)
        if len(piece) > size:
            self._data.insert(0, piece[size:])
        return piece[:size]


def frame(text: bytes, kind: int = 1) -> bytes:
    return struct.pack(">BxxxL", kind, len(STAMP + text)) + STAMP + text


def read(*pieces: bytes) -> Sequence[tuple[bytes, str]]:
    return [(line.text, line.stream) for line in log_lines(Raw(*pieces))]


def test_a_frame_is_a_line_with_its_time_and_stream() -> None:
    (line,) = log_lines(Raw(frame(b"hello\n", 2)))
    assert (line.text, line.stream, line.timestamp) == (b"hello", "stderr", NOW)


@pytest.mark.parametrize("text", [b"", b"\xff\x00\x1b[0m", b"10%\r20%\r", b" two  spaces ", b"x" * LINE_BYTES])
def test_bytes_come_as_they_were_written(text: bytes) -> None:
    assert read(frame(text + b"\n")) == [(text, "stdout")]


def test_a_long_line_comes_in_pieces_without_the_times_between_them() -> None:
    pieces = [frame(b"a" * 16384), frame(b"b" * 16384), frame(b"c\n")]
    assert read(*pieces) == [(b"a" * 16384 + b"b" * 16384 + b"c", "stdout")]


def test_pieces_of_both_streams_may_come_in_turns() -> None:
    pieces = [frame(b"out "), frame(b"err ", 2), frame(b"put\n"), frame(b"or\n", 2)]
    assert read(*pieces) == [(b"out put", "stdout"), (b"err or", "stderr")]


def test_a_last_line_without_its_end_is_a_line() -> None:
    assert read(frame(b"whole\n"), frame(b"part")) == [(b"whole", "stdout"), (b"part", "stdout")]


def test_a_line_that_is_too_long_is_cut_and_says_so() -> None:
    ((text, _),) = read(*[frame(b"x" * 16384)] * 8, frame(b"\n"))
    assert text == b"x" * LINE_BYTES + " … [cut: the line has 131072 bytes]".encode()


def test_frames_may_come_in_any_pieces() -> None:
    data = b"".join(frame(f"line {number}\n".encode()) for number in range(50))
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    assert [text for text, _ in read(*pieces)] == [f"line {number}".encode() for number in range(50)]


def test_a_stream_that_breaks_off_in_a_header_ends() -> None:
    assert read(frame(b"one\n"), frame(b"two\n")[:5]) == [(b"one", "stdout")]
