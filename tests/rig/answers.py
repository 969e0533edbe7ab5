"""What is asked of the service that answers with what can be checked, and every byte that must come back.

Covers the words of both sides: `answering` (a replica) and `load_client` (who checks). Pure, standard library only: it
is sent into containers. Each request has a number and a nonce, and its whole answer follows from them, so that an answer
that is lost, cut, doubled, swapped with another's or changed is seen.

    GET  /plain?n=N&nonce=X             `plain(ask)`
    POST /plain?n=N&nonce=X             the same, with the sum of the body
    POST /upload?n=N&nonce=X            `upload(ask, body)`: length and SHA-256 of a large body
    GET  /events?…&count=C&pause_ms=P   server-sent events: C numbered ones, then the last one, `events(ask, count)`
    GET  /socket?n=N&nonce=X            a websocket: each text frame `frame(ask, i)` is answered with `echo(…)`
"""

import base64
import hashlib
import struct
from dataclasses import dataclass

UPLOAD_BYTES = 5_000_000
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # kinds of websocket frames
NORMAL_CLOSE = 1000
_WEBSOCKET_ID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_BLOCK = hashlib.shake_256(b"a large body").digest(1 << 16)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `number` counts the requests of a client, `nonce` is of this one only."""

    number: int
    nonce: str

    @property
    def query(self) -> str:
        return f"n={self.number}&nonce={self.nonce}"


def plain(ask: Ask, body: bytes = b"") -> bytes:
    """Between 100 and 1,100 bytes; the first line says whose answer it is."""
    own = hashlib.sha256(f"{ask.query} {hashlib.sha256(body).hexdigest()}".encode()).digest()
    return f"{ask.query}\n".encode() + own.hex().encode() * (1 + own[0] % 16) + b"\n"


def upload_body(ask: Ask, length: int = UPLOAD_BYTES) -> bytes:
    """Differs from every other request's at its begin and at its end."""
    mark = ask.query.encode()
    filling = length - 2 * len(mark)
    return mark + (_BLOCK * (filling // len(_BLOCK) + 1))[:filling] + mark


def upload(ask: Ask, length: int, sha256: str) -> bytes:
    return f"{ask.query}\nbytes={length} sha256={sha256}\n".encode()


def event(ask: Ask, number: int, count: int) -> bytes:
    """One event, counted from 0; the one with number `count` is the last one and says so."""
    kind = "end" if number == count else "word"
    check = hashlib.sha256(f"{ask.query} {number} {kind}".encode()).hexdigest()
    return f"id: {number}\nevent: {kind}\ndata: {ask.query} {check}\n\n".encode()


def events(ask: Ask, count: int) -> bytes:
    return b"".join(event(ask, number, count) for number in range(count + 1))


def frame(ask: Ask, number: int) -> bytes:
    """What a client says as its frame `number` of a websocket."""
    return f"{number} {ask.query}".encode()


def echo(ask: Ask, said: bytes) -> bytes:
    check = hashlib.sha256(ask.query.encode() + said).hexdigest()
    return said + f" {check}".encode()


def accept(key: str) -> str:
    """The header by which a server shows that it speaks websocket (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _WEBSOCKET_ID).encode(), usedforsecurity=False).digest()).decode()


def pack(kind: int, data: bytes, mask: bytes = b"") -> bytes:
    """One whole frame; `mask`: four bytes, of a client's."""
    bit, length = (0x80 if mask else 0), len(data)
    if length < 126:
        head = struct.pack("!BB", 0x80 | kind, bit | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | kind, bit | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, bit | 127, length)
    return head + mask + masked(data, mask)


def masked(data: bytes, mask: bytes) -> bytes:
    if not mask:
        return data
    whole = mask * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole[: len(data)], "big")).to_bytes(len(data), "big")


class Frames:
    """Frames out of the bytes of a connection; only what these two sides send: whole messages, a frame each."""

    def __init__(self) -> None:
        self._bytes = b""

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """(kind, content) of each frame that is whole by now. Raises ValueError for what is no such frame."""
        self._bytes += data
        found: list[tuple[int, bytes]] = []
        while (one := self._next()) is not None:
            found.append(one)
        return found

    @property
    def left(self) -> bytes:
        """Of a frame that is not whole yet."""
        return self._bytes

    def _next(self) -> tuple[int, bytes] | None:
        if len(self._bytes) < 2:
            return None
        first, second = self._bytes[0], self._bytes[1]
        if first & 0xF0 != 0x80 or first & 0x0F not in {TEXT, CLOSE, PING, PONG}:
            raise ValueError(f"no frame begins with {self._bytes[:2].hex()}")
        length, at = second & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            if len(self._bytes) < at:
                return None
            length = int.from_bytes(self._bytes[2:at], "big")
        mask = b""
        if second & 0x80:
            mask, at = self._bytes[at : at + 4], at + 4
        if len(self._bytes) < at + length:
            return None
        data, self._bytes = self._bytes[at : at + length], self._bytes[at + length :]
        return first & 0x0F, masked(data, mask)
