"""agents/copies: two machines with one identity are told from one that restarts."""

from homeport_control.agents.copies import MOST_COPIES, MOST_OLDER, Copies, Verdict
from hypothesis import given
from hypothesis import strategies as st

ALONE, FIRST, COPY = Verdict.ALONE, Verdict.FIRST, Verdict.COPY


def heard(*boots: str) -> list[Verdict]:
    copies = Copies()
    return [copies.heard("h1", boot) for boot in boots]


def test_sessions_of_one_boot_and_restarts_are_no_copies() -> None:
    assert heard("a", "a", "b", "b", "c") == [ALONE] * 5


def test_who_comes_back_was_there_first_and_the_other_one_is_refused_from_then_on() -> None:
    assert heard("a", "b", "a", "b", "a", "b") == [ALONE, ALONE, FIRST, COPY, ALONE, COPY]


def test_a_copy_that_restarts_is_found_again() -> None:
    assert heard("a", "b", "a", "c", "a", "c") == [ALONE, ALONE, FIRST, ALONE, FIRST, COPY]


def test_the_first_one_may_restart() -> None:
    assert heard("a", "b", "a", "d", "b", "d") == [ALONE, ALONE, FIRST, ALONE, COPY, ALONE]


def test_hosts_do_not_mix() -> None:
    copies = Copies()
    assert [copies.heard(host, "a") for host in ("h1", "h2", "h1")] == [ALONE] * 3


@given(boots=st.lists(st.sampled_from("abcdefgh"), max_size=40))
def test_the_oldest_that_still_speaks_is_never_refused(boots: list[str]) -> None:
    """`a` speaks first, and after each other one."""
    copies = Copies()
    for boot in boots:
        assert copies.heard("h1", "a") is not COPY
        copies.heard("h1", boot)


def test_what_is_remembered_is_bounded() -> None:
    copies = Copies()
    for number in range(1000):
        copies.heard("h1", "a")
        copies.heard("h1", f"b{number}")
    known = copies._by_host["h1"]
    assert (len(known.older) <= MOST_OLDER, len(known.copies) <= MOST_COPIES) == (True, True)
