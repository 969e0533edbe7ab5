import pytest
from homeport_control.decide.updates import how_it_is_made
from homeport_control.domain.replicas import Phase, Replica, Wanted


def running(*revisions: int) -> list[Replica]:
    return [
        Replica(f"r{index}", "run", index, revision, Wanted.RUN, 1.0, host_id="h1", phase=Phase.READY)
        for index, revision in enumerate(revisions)
    ]


@pytest.mark.parametrize(
    ("revisions", "count", "sentence"),
    [
        ((2,), 1, "1 replica goes on as it is"),
        ((2, 2), 2, "2 replicas go on as they are"),
        ((2, 2), 3, "2 replicas go on as they are, 1 is added"),
        ((2,), 3, "1 replica goes on as it is, 2 are added"),
        ((2, 2, 2), 1, "1 replica goes on as it is, 2 are drained and stopped"),
        ((2, 1), 2, "1 replica goes on as it is, 1 of another version is replaced one by one"),
        ((), 1, "1 is added"),
    ],
)
def test_in_place_says_what_goes_on_and_what_comes_and_goes(
    revisions: tuple[int, ...], count: int, sentence: str
) -> None:
    assert how_it_is_made("web", running(*revisions), count, 2, has_room=False) == ("in place", sentence)


def test_rolling_says_that_a_new_one_serves_first() -> None:
    one = how_it_is_made("web", running(1), 1, None, has_room=True)
    assert one == ("rolling", "its replica is replaced, the new one serves before the old one leaves")
    three = how_it_is_made("web", running(1, 1, 1), 3, None, has_room=True)
    assert three[1] == "its 3 replicas are replaced one by one, each new one serves before an old one leaves"


def test_without_replicas_there_is_nothing_to_replace_and_no_room_needed() -> None:
    gone = [Replica("r", "run", 0, 1, Wanted.DRAIN, 1.0)]
    expected = ("rolling", "it has no replica now; the next ones are of the new version")
    assert how_it_is_made("web", gone, 1, None, has_room=False) == expected


def test_without_room_it_waits_and_says_what_to_do() -> None:
    how, because = how_it_is_made("web", running(1, 1), 2, None, has_room=False)
    assert how == "restart"
    assert "the update needs room for 1 more replica beside its 2 replicas; there is none: it will wait" in because
    assert "`rollout: {max_surge: 0, max_unavailable: 1}`" in because
    assert "run `homeport stop web`, then apply again" in because


def test_what_the_file_allows_is_said_beforehand() -> None:
    how, because = how_it_is_made("web", running(1, 1), 2, None, has_room=False, surge=0, max_unavailable=1)
    one_by_one = "one replica at a time goes before its successor comes, 1 of 2 replicas goes on serving meanwhile"
    assert (how, because) == ("rolling", one_by_one)
    how, because = how_it_is_made("web", running(1, 1), 2, None, has_room=False, max_unavailable=1)
    lack = "the update needs room for 1 more replica beside its 2 replicas; there is none"
    assert (how, because) == ("rolling", f"{lack}: {one_by_one}")
    _, because = how_it_is_made("web", running(1, 1), 2, None, has_room=True, max_unavailable=1)
    assert because.endswith("each new one serves before an old one leaves")
    _, because = how_it_is_made("web", running(1, 1, 1), 3, None, has_room=True, surge=0, max_unavailable=5)
    assert (
        because == "up to 3 replicas at a time go before their successors come, 0 of 3 replicas go on serving meanwhile"
    )
