"""lag: what is said of how late the event loop was, and that it is measured."""

import asyncio
import time

from fixtures.control import until_true
from homeport_control.lag import KEPT, Lag


def test_a_loop_that_is_in_time_is_not_talked_about() -> None:
    lag = Lag()
    assert (lag.at_most_s(0.99), lag.sentence) == (0.0, "")
    for _ in range(300):
        lag.took(0.001)
    lag.took(0.2)
    assert lag.sentence == "", "once in a minute is not the 99th percentile"
    assert lag.at_most_s(1.0) == 0.2


def test_one_that_is_late_again_and_again_is_with_numbers() -> None:
    lag = Lag()
    for number in range(KEPT):
        lag.took(0.12 if number % 50 == 0 else 0.0)
    assert "late by 120 ms at the 99th percentile" in lag.sentence


def test_only_the_last_minute_counts() -> None:
    lag = Lag()
    for late_s in (1.0, *[0.0] * KEPT):
        lag.took(late_s)
    assert lag.at_most_s(1.0) == 0.0


async def test_what_holds_the_loop_is_measured() -> None:
    lag = Lag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    began_s = time.monotonic()
    while time.monotonic() - began_s < 0.3:  # holds it
        pass
    await until_true(lambda: lag.at_most_s(1.0) > 0.1)
    task.cancel()
