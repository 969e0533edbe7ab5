"""How far a reader of a log has come: what agent, server and command line tell one another, so that a broken follow goes on.

Covers the position alone. A container's two streams are stamped apart, so one may be written a moment before the other
although it is stamped after it: each has a place of its own, and within one stream times only grow.
"""

import time
from datetime import UTC, datetime

_ANY = "any"
_SKEW_NS = 1_000_000_000  # by more than this the order of two lines never differs from that of their times


class LogPosition:
    """Lines up to here are had. Empty: none.

    As text: `any=T stdout=T stderr=T`, where `any` stands for a stream of which nothing came yet; `T` alone is that too.
    """

    def __init__(self, text: str = "") -> None:
        self._last: dict[str, str] = {}
        for part in text.split():
            stream, equals, timestamp = part.partition("=")
            self._last[stream if equals else _ANY] = timestamp if equals else stream

    def __bool__(self) -> bool:
        return bool(self._last)

    def __str__(self) -> str:
        return " ".join(f"{stream}={timestamp}" for stream, timestamp in self._last.items())

    def note(self, stream: str, timestamp: str) -> None:
        """This line was read. Timestamps are RFC 3339 in UTC with nine digits, as Docker writes them."""
        if not self._last:
            self._last[_ANY] = timestamp  # the other stream's earlier lines were not asked for
        if timestamp > self._last.get(stream, ""):
            self._last[stream] = timestamp

    def start_at(self, timestamp: str) -> None:
        """Lines of both streams up to then count as had."""
        self._last[_ANY] = timestamp

    def has(self, stream: str, timestamp: str) -> bool:
        last = self._last.get(stream) or self._last.get(_ANY)
        return last is not None and timestamp <= last

    @property
    def oldest_ns(self) -> int:
        """No line that is new is older than this, unix time; 0: nothing is known."""
        if not self._last:
            return 0
        first, newest = self._last.get(_ANY), max(self._last.values())
        return max(unix_ns(first) if first else 0, unix_ns(newest) - _SKEW_NS)


def stamp_before(age_s: float) -> str:
    """The timestamp that a line of this age has; before all of them without an age."""
    if age_s <= 0:
        return ""
    return datetime.fromtimestamp(time.time() - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def unix_ns(timestamp: str) -> int:
    """Unix time in nanoseconds; 0 for what is no timestamp."""
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction[:9].ljust(9, "0") or 0)
    except ValueError:
        return 0
