"""HTTP/2 as nobody should send it: frames by hand, and as much of the answer as a test asks about."""

import asyncio
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4

Pairs = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _text(value: bytes) -> bytes:
    """A string of HPACK, as it is: RFC 7541, 5.1 and 5.2."""
    size = len(value)
    if size < 127:
        return bytes([size]) + value
    size -= 127
    head = [127]
    while size >= 128:
        head.append(size % 128 + 128)
        size //= 128
    return bytes([*head, size]) + value


def block(pairs: Pairs) -> bytes:
    """Literals that no table keeps: RFC 7541, 6.2.2."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in pairs)


def request(stream: int, pairs: Pairs, body: bytes | None = None) -> bytes:
    head = frame(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), stream, block(pairs))
    return head if body is None else head + frame(DATA, END_STREAM, stream, body)


@dataclass
class Answer:
    """What came until the stream or the connection ended."""

    status: int = 0  # 0: none came
    was_reset: bool = False
    said_goodbye: bool = False
    closed: bool = False
    body: bytes = field(default=b"", repr=False)

    @property
    def ended(self) -> bool:
        return self.was_reset or self.said_goodbye or self.closed


_STATUS = {0x88: 200, 0x89: 204, 0x8C: 400, 0x8D: 404, 0x8E: 500}  # in HPACK's static table


async def send(port: int, data: bytes, timeout_s: float = 10) -> Answer:
    """Preface, empty settings, then `data`; the answer on any stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = Answer()
    writer.write(PREFACE + frame(SETTINGS, 0, 0) + data)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                head = await reader.readexactly(9)
                kind, flags = head[3], head[4]
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind == HEADERS and not answer.status:
                    answer.status = next((_STATUS[byte] for byte in payload if byte in _STATUS), -1)
                answer.body += payload if kind == DATA else b""
                answer.was_reset |= kind == RST_STREAM
                answer.said_goodbye |= kind == GOAWAY
                if kind in (RST_STREAM, GOAWAY) or (kind in (HEADERS, DATA) and flags & END_STREAM):
                    return answer
    except (asyncio.IncompleteReadError, ConnectionError):
        answer.closed = True
        return answer
    finally:
        writer.close()
