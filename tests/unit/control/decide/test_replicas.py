"""decide/replicas: counting, choosing, and the back-off of what failed."""

import math
from dataclasses import replace

from homeport_control.decide.replicas import (
    first_to_go,
    free_indexes,
    is_live,
    is_serving,
    last_refusal,
    may_create_at_s,
    was_failure,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted

SERVING = Replica(
    "a", "run", 0, 1, Wanted.RUN, 0.0, host_id="h1", phase=Phase.READY, in_rotation=True, first_ready_at_s=1.0
)
FAILURE = Replica("f", "run", 0, 1, Wanted.STOP, 0.0, host_id="h1", phase=Phase.STOPPED, ended_at_s=100.0)


def test_serving_needs_the_gateway_the_probes_and_a_host_that_is_there() -> None:
    assert is_serving(SERVING)
    assert not is_serving(replace(SERVING, in_rotation=False))
    assert not is_serving(replace(SERVING, phase=Phase.UNREADY))
    assert not is_serving(replace(SERVING, lost=True))
    assert not is_serving(replace(SERVING, wanted=Wanted.DRAIN))


def test_what_stopped_unasked_is_not_live() -> None:
    assert not is_live(replace(SERVING, phase=Phase.STOPPED))


def test_the_ones_that_are_missed_least_go_first() -> None:
    unready = replace(SERVING, id="u", index=1, phase=Phase.UNREADY)
    starting = replace(SERVING, id="s", phase=Phase.STARTING, in_rotation=False, first_ready_at_s=None)
    unplaced = replace(starting, id="n", host_id=None)
    newer = replace(SERVING, id="b", index=3)
    assert [r.id for r in first_to_go([SERVING, newer, unready, starting, unplaced])] == ["n", "s", "u", "b", "a"]


def on(host_id: str, *ids: str) -> list[Replica]:
    return [replace(SERVING, id=it, index=int(it[1:]), host_id=host_id) for it in ids]


def test_of_those_that_serve_the_least_busy_goes_first_and_then_the_worst_placed() -> None:
    there = [*on("h1", "r0", "r1"), *on("h2", "r2"), *on("h3", "r3")]
    in_flight = {"r0": 1, "r1": 1, "r2": 9, "r3": 1}
    assert [r.id for r in first_to_go(there, in_flight)] == ["r1", "r3", "r0", "r2"], "two share h1 until one has gone"
    assert [r.id for r in first_to_go(there, in_flight, warned={"r0"})] == ["r0", "r3", "r1", "r2"]
    assert [r.id for r in first_to_go(there, {}, warned={"r2"})] == ["r2", "r1", "r3", "r0"]
    assert first_to_go(there, {"r3": 1})[-1].id == "r3", "one that is not in it has none"


def test_what_does_not_serve_goes_before_what_is_idle_whatever_it_has_in_flight() -> None:
    unready = replace(SERVING, id="u", index=1, phase=Phase.UNREADY)
    assert [r.id for r in first_to_go([SERVING, unready], {"u": 5})] == ["u", "a"]


def test_of_equal_hosts_they_go_in_turn() -> None:
    there = [*on("h1", "r0", "r2"), *on("h2", "r1", "r3")]
    assert [r.id for r in first_to_go(there)][:2] == ["r3", "r2"], "one of each"


def test_indexes_are_the_smallest_free_ones() -> None:
    assert free_indexes([replace(SERVING, index=1)], 3) == (0, 2, 3)


def test_only_what_failed_before_it_was_ready_counts_for_the_back_off() -> None:
    assert was_failure(FAILURE)
    assert not was_failure(replace(FAILURE, first_ready_at_s=50.0))
    assert not was_failure(replace(FAILURE, stop_grace_s=10.0))  # scaled down while it was starting
    assert may_create_at_s([replace(FAILURE, revision=2), replace(FAILURE, index=1)], 1, 0) == 0.0


def test_the_pause_doubles_with_each_failure_up_to_five_minutes() -> None:
    failures = [replace(FAILURE, id=f"f{number}", ended_at_s=100.0 + number) for number in range(20)]
    assert [may_create_at_s(failures[:number], 1, 0) - (99.0 + number) for number in (1, 2, 3, 20)] == [1, 2, 4, 300]


def test_ten_good_minutes_between_two_failures_are_forgiven() -> None:
    earlier, later = FAILURE, replace(FAILURE, id="g", ended_at_s=701.0)
    assert may_create_at_s([earlier, later], 1, 0) == 702.0
    assert may_create_at_s([earlier, replace(later, ended_at_s=700.0)], 1, 0) == 702.0


def test_nothing_is_made_while_a_failed_one_still_holds_its_place_unless_its_host_is_lost() -> None:
    clearing = replace(FAILURE, ended_at_s=None, phase=Phase.STOPPING)
    assert may_create_at_s([clearing], 1, 0) == math.inf
    assert may_create_at_s([replace(clearing, lost=True)], 1, 0) == 0.0


def test_refusals_have_a_short_back_off_of_their_own() -> None:
    def after(refusals: int) -> float:
        ended = [
            replace(FAILURE, id=f"f{at}", refused=True, ended_at_s=100.0 + at, stop_grace_s=0.0)
            for at in range(refusals)
        ]
        return may_create_at_s(ended, 1, 0) - (100.0 + refusals - 1)

    assert [after(number) for number in (1, 2, 3, 5, 6, 20)] == [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]
    assert not was_failure(replace(FAILURE, refused=True))
    assert may_create_at_s([replace(FAILURE, refused=True, ended_at_s=None)], 1, 0) == math.inf, (
        "it is being cleared away"
    )


def test_the_last_refusal_is_that_of_the_newest_of_its_place() -> None:
    old = replace(FAILURE, id="old", refused=True)
    assert last_refusal([old, replace(FAILURE, index=1, created_at_s=9.0)], 0) is old
    assert last_refusal([old, replace(FAILURE, created_at_s=9.0)], 0) is None
    assert last_refusal([], 0) is None
