"""How much one peer may say in a while, and how many calls it may have open: who has a certificate may still be taken over.

Covers the counting. Nothing is lost by a pace: what is not read stays with the sender, behind gRPC's flow control.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from homeport_control.domain.errors import HomeportError

MESSAGES_PER_S = 50.0  # of a session: an agent with a hundred replicas that all start at once says less
BURST = 500.0


@dataclass(slots=True)
class Pace:
    """A burst passes, then so many a second; who says more is read more slowly. PURE."""

    per_s: float = MESSAGES_PER_S
    burst: float = BURST
    _left: float = field(init=False)
    _at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._left = self.burst

    def take(self, now_s: float) -> float:
        """One more now; how long to wait before the next is read, in seconds. `now_s` by a monotonic clock."""
        passed_s = max(0.0, now_s - self._at_s) if self._at_s else 0.0
        self._left, self._at_s = min(self.burst, self._left + passed_s * self.per_s) - 1, now_s
        return max(0.0, -self._left / self.per_s)


class Crowd:
    """At most so many calls of each peer at a time."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, peer: str) -> Iterator[None]:
        """Raises HomeportError when it has too many already."""
        if self._open[peer] >= self._most:
            raise HomeportError(f"this host has {self._most} {self._what} open already, more are refused")
        self._open[peer] += 1
        try:
            yield
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]
