"""decide/liveness: connected, unreachable, lost, and the freeze."""

from homeport_control.decide.liveness import Beat, Liveness, beat_of, judge
from homeport_control.domain.hosts import Connection, Host, HostFacts

NOW = 1000.0


def beat(name: str, silent_s: float = 0.0, broken: bool = False) -> Beat:
    return Beat(name, name, NOW - silent_s, broken)


def found(*beats: Beat) -> list[Liveness]:
    return [verdict.liveness for verdict in judge(beats, NOW).verdicts]


def test_a_host_is_unreachable_after_three_missed_beats_and_lost_ten_seconds_after_its_last_sign() -> None:
    assert found(beat("a", 6.0)) == [Liveness.CONNECTED]
    assert found(beat("a", 6.1)) == [Liveness.UNREACHABLE]
    assert found(beat("a", 9.9)) == [Liveness.UNREACHABLE]
    assert found(beat("a", 10.0)) == [Liveness.LOST]


def test_a_broken_session_is_unreachable_at_once() -> None:
    judgement = judge((beat("a", 0.0, broken=True),), NOW)
    assert judgement.verdicts[0].liveness is Liveness.UNREACHABLE
    assert judgement.wake_at_s == NOW + 10.0


def test_the_next_look_is_when_silence_alone_changes_a_verdict() -> None:
    assert judge((beat("a", 2.0),), NOW).wake_at_s == NOW + 4.0
    assert judge((beat("a", 2.0), beat("b", 8.0)), NOW).wake_at_s == NOW + 2.0
    assert judge((beat("a", 20.0),), NOW).wake_at_s is None
    assert judge((), NOW).wake_at_s is None


def test_the_sentence_counts_and_a_verdict_gives_its_seconds() -> None:
    judgement = judge((beat("a"), beat("b", 7.0), beat("c"), beat("d", 30.0, broken=True)), NOW)
    assert judgement.sentence == "2 of 4 hosts connected, 1 unreachable, 1 lost"
    assert [verdict.reason for verdict in judgement.verdicts] == ["", "silent for 7 s", "", "session broken for 30 s"]
    assert judgement.lost_host_ids == {"d"}


def test_when_most_hosts_vanish_at_once_nothing_is_lost_and_it_says_why() -> None:
    judgement = judge((beat("a", 11.0), beat("b", 14.0), beat("c")), NOW)
    assert judgement.lost_host_ids == set()
    assert judgement.frozen.startswith("2 of 3 hosts vanished within 10 s")
    assert judgement.frozen in judgement.sentence
    assert judgement.frozen in judgement.verdicts[0].reason


def test_one_of_two_hosts_or_half_of_them_is_no_freeze() -> None:
    assert found(beat("a", 11.0), beat("b")) == [Liveness.LOST, Liveness.CONNECTED]
    assert found(beat("a", 11.0), beat("b", 11.0)) == [Liveness.LOST, Liveness.LOST]
    assert found(beat("a", 11.0), beat("b", 11.0), beat("c"), beat("d"))[:2] == [Liveness.LOST, Liveness.LOST]


def test_hosts_that_went_one_after_the_other_are_lost_although_they_are_most() -> None:
    assert found(beat("a", 300.0), beat("b", 200.0), beat("c", 100.0), beat("d")) == [Liveness.LOST] * 3 + [
        Liveness.CONNECTED
    ]


def test_a_freeze_ends_when_one_of_them_returns() -> None:
    assert found(beat("a", 30.0), beat("b"), beat("c")) == [Liveness.LOST, Liveness.CONNECTED, Liveness.CONNECTED]


def test_others_that_are_heard_count_without_being_looked_at() -> None:
    """Of a fleet most are: with two of five that vanish nothing is frozen, with three of five it is."""
    away = tuple(beat(name, 30.0) for name in "abc")
    two, three = judge(away[:2], NOW, heard=3), judge(away, NOW, heard=2)
    assert (two.lost_host_ids, two.sentence) == ({"a", "b"}, "3 of 5 hosts connected, 0 unreachable, 2 lost")
    assert (three.lost_host_ids, three.frozen != "") == (frozenset(), True)
    assert judge((), NOW, heard=4).sentence == "4 of 4 hosts connected"


def test_a_host_that_the_store_calls_away_is_so_since_then() -> None:
    gone = Host(
        "h1", "one", "lab", "remote", "agent", "10.0.0.1", Connection.UNREACHABLE, "x", 990.0, False, HostFacts(), 0.0
    )
    assert judge((beat_of(gone),), NOW).lost_host_ids == {"h1"}
