"""The access log of one service as a log that a reader asks for: what there is, and with `follow` what comes.

Covers which lines, in what order, and where a broken follow goes on. The files are envoy/access_log's; requests, credit and
their end are logs'.

A line's time is when its request ended, made to grow by a nanosecond where it does not: many end in one millisecond, and two
workers of Envoy may write a moment out of order. A reader goes on after the last time it saw; who began with the last lines
only may see some of that very millisecond again.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterable, Iterator

from homeport_protos.logs import LogPosition, stamp_before, unix_ns

from homeport_agent.envoy.access_log import AccessLog
from homeport_agent.model import LogLine, LogWish

STREAM = "access"
LOOK_S = 0.25  # how often a file that is followed is looked at: as often as Envoy writes
_ENDED = re.compile(rb'"ended":"([0-9T:-]{19})\.([0-9]{1,9})Z"')


async def access_lines(log: AccessLog, wish: LogWish) -> AsyncGenerator[LogLine, None]:
    """Lines of the service `wish.access`. Raises OSError."""
    needle = b'"service":"%b"' % wish.access.encode()  # in a text inside of the line its quotes would have backslashes
    position = LogPosition(wish.after)
    oldest = stamp_before(wish.since_s)

    def is_wanted(line: bytes) -> bool:
        return needle in line and _stamp(line) >= oldest

    tail = -1 if position else wish.tail
    newer_than_s = max(unix_ns(oldest), position.oldest_ns) / 1e9
    lines, place = await asyncio.to_thread(log.last, tail, is_wanted, newer_than_s)
    stamped = _Stamps()
    for line in stamped.of(lines):
        if not position.has(STREAM, line.timestamp):
            yield line
    del lines
    while wish.follow:
        piece = await asyncio.to_thread(log.read, place)
        if piece is None:
            await asyncio.sleep(LOOK_S)
            continue
        place = piece.place
        for line in stamped.of(line for line in piece.lines if needle in line):
            yield line


class _Stamps:
    def __init__(self) -> None:
        self._last = ""

    def of(self, lines: Iterable[bytes]) -> Iterator[LogLine]:
        for line in lines:
            stamp = _stamp(line)
            if stamp <= self._last:
                stamp = _after(self._last)
            self._last = stamp
            yield LogLine(line, STREAM, stamp)


def _stamp(line: bytes) -> str:
    """When its request ended, with nine digits, so that such texts stand in the order of time; empty: it does not say."""
    found = _ENDED.search(line)
    return f"{found[1].decode()}.{found[2].decode():0<9}Z" if found else ""


def _after(stamp: str) -> str:
    """A nanosecond later."""
    now_ns = unix_ns(stamp) + 1
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 10**9))
    return f"{whole}.{now_ns % 10**9:09}Z"
