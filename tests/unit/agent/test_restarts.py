from homeport_agent import restarts
from homeport_agent.model import History


def after(history: History, *, retry: bool = True, ready_for_s: float | None = None, tries: int = 3) -> object:
    return restarts.after_failure(history, "it broke", retry=retry, ready_for_s=ready_for_s, tries=tries)


def test_the_delay_doubles_from_one_second_to_five_minutes() -> None:
    assert [restarts.delay_s(n) for n in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]


def test_ten_minutes_of_health_make_the_next_failure_the_first() -> None:
    tired = History(failures=7, was_ready=True)
    verdict = after(tired, ready_for_s=600)
    assert isinstance(verdict, restarts.StartAgain)
    assert verdict.delay_s == 1
    verdict = after(tired, ready_for_s=599)
    assert isinstance(verdict, restarts.StartAgain)
    assert verdict.delay_s == 128


def test_a_replica_that_was_ready_is_never_given_up() -> None:
    verdict = after(History(failures=99, exits=2, was_ready=True))
    assert isinstance(verdict, restarts.StartAgain)


def test_only_failures_that_say_something_about_the_replica_count_towards_giving_up() -> None:
    assert isinstance(after(History(exits=2)), restarts.GiveUp)
    assert isinstance(after(History(exits=2), tries=0), restarts.StartAgain)


def test_a_registry_that_is_away_is_tried_more_often_than_a_program_that_ends() -> None:
    assert isinstance(after(History(exits=2), tries=restarts.PULLS_BEFORE_READY), restarts.StartAgain)
    assert isinstance(after(History(exits=4), tries=restarts.PULLS_BEFORE_READY), restarts.GiveUp)
