import pytest
from homeport import methods
from homeport.errors import Error, TooSlow, Unreachable
from homeport.patience import RECONNECT_EVERY_S, RECONNECT_FOR_S, Patience
from homeport.steps import End, Stream
from homeport_protos.api.v1 import api_pb2


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def patience(end: End, clock: Clock, notices: list[str], within_s: float | None = None) -> Patience:
    request = api_pb2.ListRunsRequest()
    stream = Stream(
        methods.WATCH_RUNS, lambda: request, lambda _: (), end, 300.0, within_s=within_s, on_notice=notices.append
    )
    return Patience(stream, "box:7400", clock)


def test_a_server_that_is_lost_is_tried_for_a_minute_after_it_was_last_heard_and_told_once() -> None:
    clock, notices = Clock(), list[str]()
    waiting = patience(End.TROUBLE, clock, notices)
    waiting.heard()
    for _ in range(3):
        assert waiting.ended(Unreachable("gone")) == RECONNECT_EVERY_S
        clock.now_s += 10
    assert notices == ["gone; trying again for 60 s"]
    waiting.heard()
    assert waiting.ended(None) == RECONNECT_EVERY_S
    assert notices[1] == "the server at box:7400 ended the watch; trying again for 60 s"
    clock.now_s += RECONNECT_FOR_S + 1
    with pytest.raises(Unreachable, match="gone again"):
        waiting.ended(Unreachable("gone again"))


@pytest.mark.parametrize("end", [End.TROUBLE, End.OVER])
def test_what_was_never_heard_or_is_refused_is_not_tried_again(end: End) -> None:
    with pytest.raises(Unreachable):
        patience(end, Clock(), []).ended(Unreachable("gone"))
    with pytest.raises(TooSlow):
        patience(end, Clock(), []).ended(TooSlow("slow"))
    heard = patience(end, Clock(), [])
    heard.heard()
    with pytest.raises(Error, match="denied"):
        heard.ended(Error("denied"))


def test_a_stream_that_is_whole_when_it_ends_is_over_and_breaks_for_good() -> None:
    assert patience(End.OVER, Clock(), []).ended(None) is None
    once = patience(End.ONCE, Clock(), [])
    once.heard()
    assert once.ended(None) is None
    with pytest.raises(Unreachable):
        once.ended(Unreachable("gone"))


def test_the_deadline_of_an_opening_is_no_trouble_once_it_was_heard() -> None:
    notices = list[str]()
    waiting = patience(End.TROUBLE, Clock(), notices)
    waiting.heard()
    assert waiting.ended(TooSlow("slow")) == 0.0
    assert notices == []


def test_no_opening_lasts_longer_than_what_is_left_of_all() -> None:
    clock = Clock()
    waiting = patience(End.TROUBLE, clock, [], within_s=310.0)
    assert waiting.opening_s() == 300.0
    clock.now_s += 200
    assert waiting.opening_s() == 110.0
    clock.now_s += 110
    assert waiting.ended(TooSlow("slow")) == 0.0  # also when nothing was heard: the sentence is of the whole
    with pytest.raises(TooSlow, match="did not come within 310 s"):
        waiting.opening_s()
