"""Does a number grow for ever? Values in, a verdict with its numbers out; no clock, no files.

A leak is a slope that the noise does not explain, and it lifts the floor too. So a number GROWS when, after a warm-up,
1. the lower end of Theil-Sen's slope (one-sided, 95 %, by Kendall's statistic) over the medians of up to 60 windows, and
2. half as much at least by the lowest values: of the last third of the time against the first third
are above the limit per hour. A saw tooth of three teeth or more fails 2, a step at the start is warm-up, noise fails 1. What is
allowed per hour is the larger of an absolute number and a share of the level; growth of less than a `grain` over the whole run
is never a slope.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

WARM_UP_SHARE = 0.25
MIN_SAMPLES = 40  # after the warm-up
MIN_SPAN_S = 120.0
WINDOWS = 60
Z_ONE_SIDED_95 = 1.645


class State(StrEnum):
    FLAT = "flat"
    GROWS = "GROWS"
    OVER = "OVER"  # its ceiling, whatever its slope
    NOT_ENOUGH = "not enough"


@dataclass(frozen=True, slots=True)
class Limit:
    """`per_hour` and `grain` in the unit of the number, `share_per_hour` of its median."""

    per_hour: float
    share_per_hour: float = 0.0
    grain: float = 0.0
    ceiling: float = math.inf  # no sample may be above

    def times(self, slack: float) -> "Limit":
        """With so much more allowed per hour."""
        return replace(self, per_hour=self.per_hour * slack, share_per_hour=self.share_per_hour * slack)


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    per_hour: float  # Theil-Sen's slope
    low_per_hour: float  # its lower end
    floor_per_hour: float  # of the lowest values
    limit_per_hour: float
    level: float  # median after the warm-up
    most: float  # of all samples
    samples: int  # after the warm-up

    @property
    def failed(self) -> bool:
        return self.state in (State.GROWS, State.OVER)


def judge(samples: Sequence[tuple[float, float]], limit: Limit, warm_up_share: float = WARM_UP_SHARE) -> Verdict:
    """`samples`: (seconds, value) in the order of time."""
    most = max((value for _, value in samples), default=0.0)
    begin_s = samples[0][0] + warm_up_share * (samples[-1][0] - samples[0][0]) if samples else 0.0
    judged = [(at_s, value) for at_s, value in samples if at_s >= begin_s]
    level = median(value for _, value in judged) if judged else 0.0
    allowed = max(limit.per_hour, limit.share_per_hour * level)
    slope = low = floor = math.nan
    span_s = judged[-1][0] - judged[0][0] if judged else 0.0
    if len(judged) < MIN_SAMPLES or span_s < MIN_SPAN_S:
        state = State.NOT_ENOUGH
    else:
        slope, low = (3600 * it for it in theil_sen(windows(judged, WINDOWS)))
        floor = 3600 * _floor_slope(judged, span_s)
        grows = low > allowed and floor > allowed / 2 and slope * span_s / 3600 > limit.grain
        state = State.GROWS if grows else State.FLAT
    if most > limit.ceiling:
        state = State.OVER
    return Verdict(state, slope, low, floor, allowed, level, most, len(judged))


def windows(samples: Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """The middle and the median of each of so many equal spans of time that has a sample."""
    begin_s, span_s = samples[0][0], samples[-1][0] - samples[0][0]
    held: dict[int, list[float]] = {}
    for at_s, value in samples:
        held.setdefault(min(count - 1, int((at_s - begin_s) / span_s * count)), []).append(value)
    return [(begin_s + (number + 0.5) * span_s / count, median(values)) for number, values in sorted(held.items())]


def theil_sen(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The median of all slopes between two points, and its lower end (one-sided, 95 %). Per second."""
    count = len(points)
    slopes = sorted(
        (late - early) / (late_s - early_s)
        for number, (early_s, early) in enumerate(points)
        for late_s, late in points[number + 1 :]
    )
    spread = Z_ONE_SIDED_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return median(slopes), slopes[max(0, math.floor((len(slopes) - spread) / 2))]


def _floor_slope(judged: Sequence[tuple[float, float]], span_s: float) -> float:
    third_s, end_s = judged[0][0] + span_s / 3, judged[0][0] + span_s * 2 / 3
    first = min(value for at_s, value in judged if at_s <= third_s)
    last = min(value for at_s, value in judged if at_s >= end_s)
    return (last - first) / (span_s * 2 / 3)
