"""trust/pace: a burst passes, then so many a second; time that passes gives it back."""

import pytest
from homeport_control.domain.errors import HomeportError
from homeport_control.trust.pace import Crowd, Pace


def test_a_burst_passes_and_then_each_waits_for_its_turn() -> None:
    pace = Pace(per_s=10.0, burst=5.0)
    assert [pace.take(100.0) for _ in range(5)] == [0.0] * 5
    assert [round(pace.take(100.0), 3) for _ in range(3)] == [0.1, 0.2, 0.3]
    assert pace.take(101.0) == 0.0


def test_rest_gives_no_more_than_a_burst() -> None:
    pace = Pace(per_s=10.0, burst=5.0)
    pace.take(100.0)
    assert [pace.take(9999.0) for _ in range(6)][-1] > 0


def test_one_peer_has_so_many_calls_and_the_others_have_theirs() -> None:
    crowd = Crowd(2, "sessions")
    with crowd.one_more("a"), crowd.one_more("a"):
        with pytest.raises(HomeportError, match="2 sessions"), crowd.one_more("a"):
            pass
        with crowd.one_more("b"):
            pass
    with crowd.one_more("a"), crowd.one_more("a"):
        pass
