"""How much one peer may say in a while: a burst, then so many a second. Who says more is read more slowly, and waits.

PURE. Nothing is lost by it: what is not read stays with the sender, behind gRPC's flow control.
"""

from dataclasses import dataclass, field

MESSAGES_PER_S = 50.0  # an agent with a hundred replicas that all start at once says less
BURST = 500.0


@dataclass(slots=True)
class Pace:
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
