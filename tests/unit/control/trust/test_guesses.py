"""trust/guesses: who tries wrong tokens waits; who has a good one, or shares no address with a guesser, never does."""

import pytest
from homeport_control.trust import guesses
from homeport_control.trust.guesses import Guesses, TooManyGuesses, address_of, group_of


def tried(room: Guesses, address: str, count: int, now_s: float = 100.0) -> int:
    """How many of so many wrong tokens were looked up."""
    looked_up = 0
    for number in range(count):
        try:
            room.check(address, f"wrong {number}", now_s)
        except TooManyGuesses:
            continue
        room.was_wrong(address, f"wrong {number}", now_s)
        looked_up += 1
    return looked_up


def test_one_address_tries_a_burst_and_then_waits() -> None:
    room = Guesses()
    assert tried(room, "10.0.0.9", 100) == guesses.BURST
    with pytest.raises(TooManyGuesses, match=r"from 10\.0\.0\.9; try again in 5 s"):
        room.check("10.0.0.9", "wrong", 100.0)
    assert tried(room, "10.0.0.9", 100, now_s=105.0) == 1
    assert tried(room, "10.0.0.9", 100, now_s=9999.0) == guesses.BURST


def test_another_address_and_a_token_that_was_good_are_not_slowed() -> None:
    room = Guesses()
    room.was_good("good")
    tried(room, "10.0.0.9", 100)
    room.check("10.0.0.8", "unknown", 100.0)
    room.check("10.0.0.9", "good", 100.0)
    room.was_wrong("10.0.0.9", "good", 100.0)  # it was revoked
    with pytest.raises(TooManyGuesses):
        room.check("10.0.0.9", "good", 100.0)


def test_all_guessers_together_have_a_limit_and_who_has_tried_nothing_wrong_is_outside_of_it() -> None:
    room = Guesses()
    looked_up = sum(tried(room, f"10.0.{number}.1", 20) for number in range(200))
    assert looked_up <= guesses.ALL_BURST + 200
    room.check("10.9.9.9", "unknown", 100.0)


def test_what_is_remembered_is_bounded() -> None:
    room = Guesses()
    for number in range(guesses.MOST_ADDRESSES + 500):
        room.was_wrong(f"{number >> 16}.{number >> 8 & 255}.{number & 255}.1", "x", 1.0)
        room.was_good(str(number))
    assert len(room._by_address) == guesses.MOST_ADDRESSES
    assert len(room._good) == guesses.MOST_GOOD


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("ipv4:10.0.0.9:5000", "10.0.0.9"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::/64"),
        ("ipv6:[2001:db8::ffff]:5000", "2001:db8::/64"),
        ("ipv6:[::ffff:10.0.0.9]:5000", "10.0.0.9"),
        ("unix:", ""),
    ],
)
def test_who_counts_as_one(peer: str, group: str) -> None:
    assert group_of(address_of(peer)) == group
