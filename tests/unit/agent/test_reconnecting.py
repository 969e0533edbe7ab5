"""reconnecting: later and later, bounded, and never all at once."""

from homeport_agent.reconnecting import FIRST_PAUSE_S, LONGEST_PAUSE_S, longer_s, wait_s


def test_the_waits_of_agents_are_spread_over_half_of_the_pause() -> None:
    assert (wait_s(4.0, 0.0), wait_s(4.0, 0.5), wait_s(4.0, 1.0)) == (2.0, 3.0, 4.0)


def test_a_pause_grows_to_its_bound_and_no_further() -> None:
    pauses = [FIRST_PAUSE_S]
    while len(pauses) < 10:
        pauses.append(longer_s(pauses[-1]))
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert pauses[-2:] == [LONGEST_PAUSE_S, LONGEST_PAUSE_S]
