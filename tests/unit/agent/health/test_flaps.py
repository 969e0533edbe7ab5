"""How long a GPU must be well before it counts as healthy."""

from homeport_agent.health import flaps
from homeport_agent.health.model import Flaps


def failed_and_back(it: Flaps, at_s: float) -> tuple[Flaps, float]:
    """Fails at `at_s`, its cause ends at once; the state when it is healthy again, and when."""
    it = flaps.moved(it, has_cause=True, now_s=at_s)
    while (it := flaps.moved(it, has_cause=False, now_s=at_s)).is_failing:
        at_s += 1
    return it, at_s


def test_the_first_failure_costs_no_wait() -> None:
    assert failed_and_back(Flaps(), 100.0) == (Flaps(False, (100.0,)), 100.0)


def test_a_failure_long_after_the_last_begins_anew() -> None:
    it, at_s = failed_and_back(Flaps(), 100.0)
    it, at_s = failed_and_back(it, at_s + 600)
    assert at_s == 760
    it, at_s = failed_and_back(it, at_s + 601)
    assert (it.hold_s, len(it.backs_s)) == (0, 1)


def test_after_a_long_wait_it_takes_longer_to_be_trusted() -> None:
    it = Flaps(False, (1000.0,), hold_s=1800)
    again, back_s = failed_and_back(it, 1000.0 + 3599)
    assert (again.hold_s, back_s) == (3600, 4599 + 3600)


def test_what_fails_while_it_is_watched_is_watched_anew() -> None:
    it = flaps.moved(Flaps(False, (0.0,)), has_cause=True, now_s=10)
    it = flaps.moved(it, has_cause=False, now_s=20)
    assert it.watched_until_s == 80
    it = flaps.moved(it, has_cause=True, now_s=79)
    it = flaps.moved(it, has_cause=False, now_s=81)
    assert it.watched_until_s == 141


def test_a_clock_that_is_set_back_does_not_make_the_watch_longer_than_it_is() -> None:
    it = flaps.moved(Flaps(True, (0.0,), 60.0), has_cause=False, now_s=10_000)
    assert flaps.moved(it, has_cause=False, now_s=5_000).watched_until_s == 5_060
