"""PURE: what the answers of probes add up to.

Covers counting. Does not cover asking (probe) nor what follows (replica).
"""

from dataclasses import dataclass

FAILURES_TO_UNREADY = 3  # in a row, of any one probe; one lost packet must not take a replica out


@dataclass(frozen=True, slots=True)
class Readiness:
    """Consecutive answers, one counter per probe: n > 0 successes in a row, n < 0 failures in a row."""

    needed: tuple[int, ...]  # successes in a row that each probe needs
    streaks: tuple[int, ...]

    @staticmethod
    def of(needed: tuple[int, ...]) -> "Readiness":
        return Readiness(needed, (0,) * len(needed))

    def after(self, probe: int, is_ok: bool) -> "Readiness":
        """The counters after one answer. An answer of a probe that does not exist changes nothing."""
        if not 0 <= probe < len(self.streaks):
            return self
        old = self.streaks[probe]
        new = max(old, 0) + 1 if is_ok else min(old, 0) - 1
        # bounded: a service that runs for years shall not grow a number that changes the state each second
        new = max(-FAILURES_TO_UNREADY, min(new, max(self.needed[probe], 1)))
        return Readiness(self.needed, (*self.streaks[:probe], new, *self.streaks[probe + 1 :]))

    @property
    def passed(self) -> int:
        """How many probes have all the successes that they need."""
        return sum(streak >= need for streak, need in zip(self.streaks, self.needed, strict=True))

    @property
    def total(self) -> int:
        return len(self.needed)

    @property
    def is_ready(self) -> bool:
        return self.passed == self.total

    @property
    def is_failing(self) -> bool:
        return any(streak <= -FAILURES_TO_UNREADY for streak in self.streaks)

    @property
    def is_answering(self) -> bool:
        """Every probe's last answer was good: enough to come back after a failure."""
        return all(streak > 0 for streak in self.streaks)
