"""How late the reports of one stream come: a connection that loses packets brings them seconds after they were counted, while
another one of the same Envoy is quick.

PURE. A report says how long it counted, the first one since Envoy was asked for it. So the sum of these after the asking is
when it was made: what it came later than that is how late it is, the way of the asking with it. Of an Envoy that was asked
before, by another stream, the first one counts from then on: how late that stream is from its beginning on is not seen.
"""

from dataclasses import dataclass

DRIFT = 0.001  # s in a second: more than two clocks differ; so much later than it seems nothing has to be


@dataclass(slots=True)
class Lateness:
    """`due_s`: when the last one would have come, as quick as the quickest; at first, when Envoy was asked."""

    due_s: float

    def of(self, interval_s: float, now_s: float) -> float:
        """How late one is, in s, that counted for `interval_s` and comes now, by a clock that does not jump."""
        due_s = self.due_s + interval_s * (1 + DRIFT)
        self.due_s = min(due_s, now_s)
        return now_s - self.due_s
