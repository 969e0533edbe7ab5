"""How late the event loop of this process is, told by a small file that others may read: for benches and soaks.

Only where HOMEPORT_LAG_FILE names a file; then the loop is asked ten times a second, and the file replaced once a second.
It holds counts since the start, by how late the loop was, so that a reader has any span of time by subtraction.
"""

import asyncio
import json
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

VARIABLE = "HOMEPORT_LAG_FILE"
ASK_S = 0.1
TELL_S = 1.0
# Upper ends of the classes; the last class has none.
BOUNDS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 500.0, 1000.0, 5000.0)


class Lag:
    """Counts since the start, and the worst since it was last told."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.worst_ms = 0.0

    def add(self, late_ms: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, late_ms)] += 1
        self.worst_ms = max(self.worst_ms, late_ms)

    def told(self) -> str:
        text = json.dumps({"bounds_ms": BOUNDS_MS, "counts": self.counts, "worst_ms": round(self.worst_ms, 2)})
        self.worst_ms = 0.0
        return text


def quantile_ms(counts: Sequence[int], share: float) -> float:
    """How late the loop was at most in that share of the cases: the end of a class, inf in the last; 0 without any."""
    wanted, seen = share * sum(counts), 0
    for bound_ms, count in zip((*BOUNDS_MS, float("inf")), counts, strict=True):
        seen += count
        if seen and seen >= wanted:
            return bound_ms
    return 0.0


async def run(environment: Mapping[str, str] = os.environ, heard: Callable[[float], None] | None = None) -> None:
    """Until it is cancelled. `heard` is told each time by how many seconds it was late; without it, and where no file is named,
    it ends at once. A file that cannot be written is left as it is."""
    name = environment.get(VARIABLE)
    if not name and heard is None:
        return
    file, lag, loop = Path(name) if name else None, Lag(), asyncio.get_running_loop()
    next_told_s = 0.0
    while True:
        before_s = loop.time()
        await asyncio.sleep(ASK_S)
        now_s = loop.time()
        late_s = now_s - before_s - ASK_S
        lag.add(late_s * 1000)
        if heard is not None:
            heard(late_s)
        if file is not None and now_s >= next_told_s:
            next_told_s = now_s + TELL_S
            with suppress(OSError):  # a full disk; what is measured must not end what measures
                _replace(file, lag.told())


def _replace(file: Path, text: str) -> None:
    partial = file.with_suffix(".new")
    partial.write_text(text)
    partial.replace(file)
