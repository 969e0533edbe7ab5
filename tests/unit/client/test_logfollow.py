from homeport.logfollow import LogReader
from homeport_protos.api.v1 import api_pb2


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def stamp(number: int) -> str:
    return f"2026-11-23T10:00:00.{number:09d}Z"


def answer(*numbers: int, replica_id: str = "r1") -> api_pb2.LogsResponse:
    entries = [api_pb2.LogEntry(replica_id=replica_id, stream="stdout", timestamp=stamp(number)) for number in numbers]
    return api_pb2.LogsResponse(entries=entries)


def asked(**fields: float) -> tuple[LogReader, Clock]:
    clock = Clock()
    request = api_pb2.LogsRequest(run_name="web", follow=True, replica=2, **fields)  # type: ignore[arg-type]
    reader = LogReader(request, clock)
    assert reader.request() == request
    return reader, clock


def test_it_goes_on_after_the_last_line_of_each_replica() -> None:
    reader, _ = asked(tail=-1)
    reader.note(answer(1, 2))
    reader.note(answer(5, replica_id="r2"))
    reader.note(answer(3))
    again = reader.request()
    assert {key: value.split()[-1] for key, value in again.after.items()} == {
        "r1": f"stdout={stamp(3)}",
        "r2": f"stdout={stamp(5)}",
    }
    assert (again.run_name, again.follow, again.replica, again.tail, again.since_s) == ("web", True, 2, -1, 0)


def test_a_tail_is_asked_for_once_and_then_what_came_since() -> None:
    reader, clock = asked(tail=10, since_s=300)
    clock.now_s += 42
    again = reader.request()
    assert (again.tail, again.since_s) == (-1, 42)


def test_an_age_grows_with_the_time_that_is_gone() -> None:
    reader, clock = asked(tail=-1, since_s=300)
    clock.now_s += 42
    assert reader.request().since_s == 342
