"""Loads second by second, and what a policy makes of them: replicas that start, serve and go, on a virtual clock.

Pure. `simulate` counts what nobody could serve and what was there for nothing. Does not draw (bench_autoscale.py).
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from homeport_control.decide.autoscale import Memory, Standing, decide
from homeport_control.domain.scaling import LoadSample, Metric, Scale, ScalingRule

START_S = 20  # from the order of a replica to its first answer
TARGET = 10.0  # rps of one replica
RULE = ScalingRule(Metric.RPS, TARGET, 1, 40, scale_up_delay_s=300, scale_down_delay_s=600, window_s=60)
RECORDED = Path(__file__).parent / "recorded" / "sessions.csv"

Load = list[float]  # rps of each second
Policy = Callable[[Load, int, int, int], int]  # what came so far, ordered, serving, now: what is to be ordered


def step() -> Load:
    return [8.0] * 300 + [75.0] * 1500 + [8.0] * 1800


def ramp() -> Load:
    return [5 + 115 * min(n, 1800) / 1800 for n in range(2400)] + [120 - 115 * n / 1800 for n in range(1800)]


def bursts() -> Load:
    return [90.0 if n % 600 < 45 else 12.0 for n in range(3600)]


def diurnal() -> Load:
    """A day in two hours, with a noise of its own."""
    chance = random.Random(7)  # noqa: S311 - the same noise each time
    day = [60 - 50 * math.cos(2 * math.pi * n / 7200) for n in range(7200)]
    return [max(0.0, rps + chance.gauss(0, math.sqrt(rps))) for rps in day]


def flapping() -> Load:
    """Around the edge between three and four replicas, each half a minute."""
    return [26.0 if n // 30 % 2 else 36.0 for n in range(3600)]


def recorded() -> Load:
    """What record_load.py has counted, two times over."""
    return [float(line) for line in RECORDED.read_text().split()] * 2


SHAPES: dict[str, Callable[[], Load]] = {it.__name__: it for it in (step, ramp, bursts, diurnal, flapping, recorded)}


class Homeport:
    """decide/autoscale, with the delays that a file has when it says nothing of them."""

    def __init__(self, rule: ScalingRule = RULE) -> None:
        self._rule = rule
        self._memory = Memory()
        self.said = ""

    def __call__(self, load: Load, ordered: int, serving: int, now_s: int) -> int:
        since = max(0, now_s - int(self._rule.window_s))
        samples = tuple(LoadSample(at + 1.0, load[at], int(load[at])) for at in range(since, now_s))
        decided = decide(self._rule, samples, Standing(ordered, serving, ordered - serving), self._memory, float(now_s))
        self._memory, self.said = decided.memory, decided.verdict.because
        return decided.verdict.to if isinstance(decided.verdict, Scale) else ordered


class ThePage:
    """The policy of the page that we were handed: what the last 60 s needed, some time after the last change."""

    def __init__(self, rule: ScalingRule = RULE) -> None:
        self._rule = rule
        self._changed_s = -math.inf

    def __call__(self, load: Load, ordered: int, serving: int, now_s: int) -> int:
        last = load[max(0, now_s - 60) : now_s]
        need = math.ceil(sum(last) / 60 / self._rule.target) if last else ordered
        need = min(max(need, self._rule.min), self._rule.max)
        delay_s = self._rule.scale_up_delay_s if need > ordered else self._rule.scale_down_delay_s
        if need == ordered or now_s - self._changed_s < delay_s:
            return ordered
        self._changed_s = now_s
        return need


@dataclass(slots=True)
class Outcome:
    load: Load
    serving: list[int] = field(default_factory=list)
    ordered: list[int] = field(default_factory=list)
    changes: int = 0

    @property
    def unserved(self) -> float:
        """Requests beyond what the replicas of their second should carry."""
        return sum(max(0.0, rps - TARGET * there) for rps, there in zip(self.load, self.serving, strict=True))

    @property
    def idle_replica_s(self) -> float:
        """Replica-seconds beyond what the load of their second needs; one is always there."""
        needed = (max(1, math.ceil(rps / TARGET)) for rps in self.load)
        return float(sum(max(0, there - need) for there, need in zip(self.ordered, needed, strict=True)))


def simulate(load: Load, policy: Policy, begin: int = 1) -> Outcome:
    """Second by second; what is ordered serves START_S later, what is let go goes at once, the newest first."""
    outcome = Outcome(load)
    ready_at_s = [0] * begin
    for now_s in range(len(load)):
        wanted = policy(load, len(ready_at_s), sum(at_s <= now_s for at_s in ready_at_s), now_s)
        outcome.changes += wanted != len(ready_at_s)
        while len(ready_at_s) < wanted:
            ready_at_s.append(now_s + START_S)
        del ready_at_s[wanted:]
        outcome.serving.append(sum(at_s <= now_s for at_s in ready_at_s))
        outcome.ordered.append(len(ready_at_s))
    return outcome
