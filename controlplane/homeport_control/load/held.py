"""Requests that are held for one service, by the second. PURE: what it is told, and when, goes in.

Covers how many there were at the end of a second and how many began in it. Does not cover the holding.
"""

import math

LATE_S = 5  # a second that nobody has asked for by then is told with the next


class Held:
    def __init__(self) -> None:
        self.now = 0
        self.changed_at_s = 0.0
        self._before = 0  # at the end of the last second that was closed
        self._began: dict[int, int] = {}  # by second, those that are not closed
        self._ends: dict[int, int] = {}

    def change(self, held: int, now_s: float) -> None:
        second = math.floor(now_s)
        self._began[second] = self._began.get(second, 0) + max(0, held - self.now)
        self._ends[second] = held
        self.now, self.changed_at_s = held, now_s
        while len(self._began) > LATE_S:  # no second is closed: no gateway reports
            oldest, following = sorted(self._began)[:2]
            self._began[following] += self._began.pop(oldest)
            self._before = self._ends.pop(oldest)

    def close(self, second: int) -> tuple[int, int]:
        """(began up to its end, held at its end), of what was not told before."""
        began = sum(self._began.pop(it) for it in sorted(self._began) if it <= second)
        for it in sorted(self._ends):
            if it <= second:
                self._before = self._ends.pop(it)
        return began, self._before

    def began_per_s(self, now_s: float) -> float:
        """Of what was not told yet."""
        if not self._began:
            return 0.0
        return sum(self._began.values()) / max(1.0, now_s - min(self._began))

    def is_over(self) -> bool:
        return not self.now and not self._before and not self._ends
