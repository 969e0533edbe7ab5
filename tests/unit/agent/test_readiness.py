from homeport_agent.readiness import Readiness


def test_a_failure_in_between_starts_the_count_again() -> None:
    it = Readiness.of((2,)).after(0, True).after(0, False).after(0, True)
    assert not it.is_ready
    assert it.after(0, True).is_ready


def test_three_failures_in_a_row_of_any_probe_are_failing() -> None:
    it = Readiness.of((1, 1)).after(0, True).after(1, False).after(1, False)
    assert not it.is_failing
    assert it.after(1, False).is_failing


def test_an_answer_of_a_probe_that_does_not_exist_changes_nothing() -> None:
    it = Readiness.of((1,))
    assert it.after(1, True) == it
    assert it.after(-1, True) == it


def test_the_counters_are_bounded() -> None:
    it = Readiness.of((2,))
    for _ in range(50):
        it = it.after(0, True)
    assert it.streaks == (2,)
    for _ in range(50):
        it = it.after(0, False)
    assert it.streaks == (-3,)
