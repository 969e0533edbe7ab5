"""How late the reports of one stream come: a connection that loses packets brings them seconds after they were counted, while
another one of the same Envoy is quick.

PURE. A report says how long it counted, so the sum of these is when it was made, but for how late the quickest of them came.
Of a stream that was slow from its beginning on nothing is seen.
"""

from dataclasses import dataclass

DRIFT = 0.001  # s in a second: more than two clocks differ; so much later than it seems nothing has to be


@dataclass(slots=True)
class Lateness:
    due_s: float | None = None  # when the last one would have come, as quick as the quickest

    def of(self, interval_s: float, now_s: float) -> float:
        """How late one is, in s, that counted for `interval_s` and comes now, by a clock that does not jump."""
        due_s = now_s if self.due_s is None else self.due_s + interval_s * (1 + DRIFT)
        self.due_s = min(due_s, now_s)
        return now_s - self.due_s
