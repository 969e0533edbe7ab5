from homeport_control.decide.collect import UNUSED_S, codes_in_use, unused_codes
from homeport_control.domain.replicas import Replica, Wanted
from homeport_control.domain.services import Revision, Run, RunState, RunWanted

NOW_S = 1_000_000.0


def a_run(*codes: str, failed: tuple[int, ...] = (), ended_at_s: float | None = None) -> Run:
    revisions = tuple(
        Revision("run", number, "{}", 1.0, failed="why" if number in failed else "", code_id=code)
        for number, code in enumerate(codes, start=1)
    )
    return Run("run", "hello", "alice", RunWanted.RUN, RunState.RUNNING, "", 1.0, ended_at_s, revisions)


def a_replica(revision: int, *, run_id: str = "run", ended_at_s: float | None = None) -> Replica:
    return Replica(f"r{revision}", run_id, 0, revision, Wanted.RUN, 1.0, ended_at_s=ended_at_s)


def test_what_a_run_has_and_may_fall_back_to_is_in_use() -> None:
    assert codes_in_use([a_run("a", "b", "c", "d", "e")], []) == {"c", "d", "e"}
    assert codes_in_use([a_run("a", "b", "c", "d", "e", failed=(3, 4))], []) == {"a", "b", "e"}
    assert codes_in_use([a_run("a", "b", "c", "d", "e", failed=(5,))], []) == {"b", "c", "d", "e"}


def test_what_still_runs_is_in_use_whatever_came_after_it() -> None:
    run = a_run("a", "b", "c", "d", "e")
    assert "a" in codes_in_use([run], [a_replica(1)])
    assert "a" not in codes_in_use([run], [a_replica(1, ended_at_s=5.0)])
    assert codes_in_use([run], [a_replica(1, run_id="another")]) == {"c", "d", "e"}


def test_a_run_that_is_finished_needs_only_what_is_left_of_it() -> None:
    run = a_run("a", "b", ended_at_s=5.0)
    assert codes_in_use([run], []) == frozenset()
    assert codes_in_use([run], [a_replica(1)]) == {"a"}


def test_no_code_is_no_code() -> None:
    assert codes_in_use([a_run("", "")], [a_replica(1)]) == frozenset()


def test_only_what_is_old_and_not_in_use_goes() -> None:
    used_at_s = {"old": NOW_S - UNUSED_S - 1, "used": 0.0, "new": NOW_S - UNUSED_S + 1, "ahead": NOW_S + 99, "b": 0.0}
    assert unused_codes(used_at_s, {"used"}, NOW_S) == ("b", "old")
    assert unused_codes({}, {"used"}, NOW_S) == ()
