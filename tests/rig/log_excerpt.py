"""The lines of a log around a moment, for the words of a test that has failed: CI shows those, and not a whole log.

Pure. Knows the two ways in which our processes begin their lines: the server's `timestamp=…`, the agent's bare time.
"""

import re
from collections.abc import Iterator
from datetime import datetime

LONGEST = 240  # letters of a line
_AT = re.compile(r"^(?:timestamp=)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z")


def around(log: str, from_s: float, to_s: float, most: int = 40) -> list[str]:
    """Lines of these unix times, the first `most`; one without a time belongs to the line before it."""
    found = [line[:LONGEST] for at_s, line in _timed(log) if from_s <= at_s <= to_s]
    return found if len(found) <= most else [*found[:most], f"… {len(found) - most} lines more"]


def _timed(log: str) -> Iterator[tuple[float, str]]:
    at_s = 0.0
    for line in log.splitlines():
        if said := _AT.match(line):
            at_s = datetime.fromisoformat(f"{said[1]}+00:00").timestamp()
        yield at_s, line
