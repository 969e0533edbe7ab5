"""bench/slopes: a leak is found in noise, and nothing else is called one."""

import math
import random
from collections.abc import Callable

import pytest
from bench.slopes import Limit, State, judge

RUN_S = 1800
LIMIT = Limit(per_hour=4.0, share_per_hour=0.05, grain=0.5)  # MiB, say; the level is 60, so 4 counts


def series(
    value: Callable[[int], float], run_s: int = RUN_S, noise: float = 0.0, seed: int = 1
) -> list[tuple[float, float]]:
    drawn = random.Random(seed)  # noqa: S311
    return [(float(at_s), value(at_s) + drawn.gauss(0, noise)) for at_s in range(run_s)]


def test_flat_passes() -> None:
    verdict = judge(series(lambda at_s: 60.0), LIMIT)
    assert (verdict.state, verdict.per_hour, verdict.level, verdict.limit_per_hour) == (State.FLAT, 0.0, 60.0, 4.0)
    assert not verdict.failed


@pytest.mark.parametrize("seed", range(20))
def test_noisy_and_flat_passes(seed: int) -> None:
    assert judge(series(lambda at_s: 60.0, noise=3.0, seed=seed), LIMIT).state is State.FLAT


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_leak_of_twice_the_limit_fails(seed: int, noise: float) -> None:
    verdict = judge(series(lambda at_s: 60.0 + 8.0 * at_s / 3600, noise=noise, seed=seed), LIMIT)
    assert verdict.state is State.GROWS
    assert verdict.failed
    assert verdict.per_hour == pytest.approx(8.0, abs=2.0)
    assert verdict.low_per_hour <= verdict.per_hour


def test_a_leak_of_half_the_limit_passes() -> None:
    assert judge(series(lambda at_s: 60.0 + 2.0 * at_s / 3600, noise=0.2), LIMIT).state is State.FLAT


def test_a_leak_in_steps_fails() -> None:
    assert judge(series(lambda at_s: 60.0 + at_s // 300), LIMIT).state is State.GROWS


@pytest.mark.parametrize("period_s", [40, 130, 300, 450])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9])
def test_a_saw_tooth_passes(period_s: int, phase: float) -> None:
    verdict = judge(series(lambda at_s: 60.0 + 10.0 * ((at_s / period_s + phase) % 1.0)), LIMIT)
    assert verdict.state is State.FLAT, verdict


def test_a_saw_tooth_that_leaks_fails() -> None:
    assert judge(series(lambda at_s: 60.0 + 10.0 * (at_s % 60) / 60 + 20.0 * at_s / 3600), LIMIT).state is State.GROWS


@pytest.mark.parametrize("at", [10, 200, 440])
def test_one_step_at_the_start_passes(at: int) -> None:
    assert judge(series(lambda at_s: 60.0 if at_s < at else 90.0), LIMIT).state is State.FLAT


def test_too_short_a_run_says_so() -> None:
    verdict = judge(series(lambda at_s: 60.0 + at_s, run_s=40), LIMIT)
    assert verdict.state is State.NOT_ENOUGH
    assert not verdict.failed
    assert math.isnan(verdict.per_hour)
    assert judge([], LIMIT).state is State.NOT_ENOUGH


def test_growth_below_the_grain_is_no_slope() -> None:
    """One more thread in two minutes is 30 an hour, and one more thread."""
    count = series(lambda at_s: 20.0 if at_s < 100 else 21.0, run_s=240)
    assert judge(count, Limit(per_hour=2.0, grain=1.5)).state is State.FLAT


def test_a_share_of_the_level_may_be_the_limit() -> None:
    grows = series(lambda at_s: 1000.0 + 40.0 * at_s / 3600)
    assert judge(grows, LIMIT).state is State.FLAT
    assert judge(grows, Limit(per_hour=4.0)).state is State.GROWS


def test_a_ceiling_holds_however_short_the_run() -> None:
    assert judge([(0.0, 10.0), (1.0, 12.0)], Limit(per_hour=1.0, ceiling=11.0)).state is State.OVER
