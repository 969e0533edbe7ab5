from homeport_control.decide.log_sources import followed, shown
from homeport_control.domain.replicas import Replica, Wanted


def replica(
    replica_id: str, index: int = 0, at_s: float = 0.0, *, host: str | None = "h1", ended: bool = False
) -> Replica:
    return Replica(replica_id, "run", index, 1, Wanted.RUN, at_s, host_id=host, ended_at_s=at_s + 1 if ended else None)


def ids(replicas: tuple[Replica, ...]) -> list[str]:
    return [it.id for it in replicas]


def test_what_runs_is_shown_and_not_what_it_replaced() -> None:
    found = [replica("old", at_s=1, ended=True), replica("new", at_s=2), replica("other", 1, 1)]
    assert ids(shown(found)) == ["new", "other"]


def test_both_are_shown_while_one_takes_the_place_of_the_other() -> None:
    assert ids(shown([replica("new", at_s=2), replica("old", at_s=1)])) == ["old", "new"]


def test_the_last_of_an_index_is_shown_while_its_replacement_has_no_host() -> None:
    found = [
        replica("old", at_s=1, ended=True),
        replica("older", at_s=0, ended=True),
        replica("new", at_s=2, host=None),
    ]
    assert ids(shown(found)) == ["old"]


def test_an_index_that_is_not_used_any_more_is_shown_only_when_it_is_asked_for() -> None:
    found = [replica("a", 0), replica("b", 1, ended=True)]
    assert ids(shown(found)) == ["a"]
    assert ids(shown(found, 1)) == ["b"]


def test_of_a_run_that_has_ended_the_last_of_each_index_are_shown() -> None:
    found = [replica("a1", 0, 1, ended=True), replica("a2", 0, 2, ended=True), replica("b", 1, 1, ended=True)]
    assert ids(shown(found)) == ["a2", "b"]


def test_the_previous_one_is_the_one_before_the_newest() -> None:
    found = [replica("a1", at_s=1, ended=True), replica("a2", at_s=2, ended=True), replica("a3", at_s=3)]
    assert ids(shown(found, 0, previous=True)) == ["a2"]
    assert shown(found[2:], 0, previous=True) == ()


def test_nobody_without_a_host_is_shown() -> None:
    assert shown([replica("a", host=None)]) == ()
    assert shown([]) == ()


def test_new_replicas_are_followed_also_those_that_ended_at_once() -> None:
    found = [
        replica("had", ended=True),
        replica("now", at_s=1),
        replica("quick", at_s=2, ended=True),
        replica("x", host=None),
    ]
    assert ids(followed(found, frozenset({"had"}))) == ["now", "quick"]
    assert ids(followed([*found, replica("one", 1, 3)], frozenset({"had"}), 1)) == ["one"]
