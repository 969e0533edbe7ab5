"""What runs and the server tell: logs, events, metrics, usage."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import methods
from homeport.logfollow import LogReader
from homeport.steps import End, Item, Notice, Steps, Stream, call, log, until

LOGS_DEADLINE_S = 7 * 86400.0
READ_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class LogLine:
    text: str  # without the end of the line; what is no UTF-8 is replaced
    data: bytes  # as it was written
    replica: int  # its number
    revision: int
    replica_id: str
    stream: str  # stdout, stderr
    timestamp: str  # RFC 3339, nanoseconds


def logs(
    name: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    since_s: float = 0.0,
    replica: int | None = None,
    previous: bool = False,
    access: bool = False,
    on_notice: Notice = log,
) -> Stream[LogLine]:
    """What the replicas of a run wrote; `follow`: until the run ends, over a server that goes away, no line lost or twice.

    `tail`: the last lines only, of each replica. `since_s`: not older. `replica`: this one only, by its number. `previous`: of
    the replicas before these. `access`: the gateway's log of its requests instead, each line JSON. `on_notice` hears what is
    said to the reader beside the lines: a host that is not connected now.
    """
    request = pb.LogsRequest(
        run_name=name,
        follow=follow,
        tail=-1 if tail is None else tail,
        since_s=since_s,
        replica=replica,
        previous=previous,
        access=access,
    )

    def lines(answer: pb.LogsResponse) -> Iterable[LogLine]:
        if answer.note:
            on_notice(answer.note)
        return map(_line, answer.entries)

    return _logs(request, lines, on_notice)


def read_logs(request: pb.LogsRequest, *, on_notice: Notice = log) -> Stream[pb.LogsResponse]:
    """As `logs`, in the API's own answers: many lines at once, and the notes between them."""
    return _logs(request, lambda answer: [answer], on_notice)


def events(
    *,
    follow: bool = False,
    since_s: float = 0.0,
    limit: int = 0,
    kind: str = "",
    name: str = "",
    cause_id: str = "",
    after_id: int = 0,
    on_notice: Notice = log,
) -> Stream[pb.Event]:
    """What changed, who did it and what it followed from, oldest first; `follow`: as they happen, without an end.

    `limit`: the newest so many; 0: 100. `kind`: run, replica, host, gateway, token, user, server. `name`: of the object, or of
    the run that a replica belongs to. `cause_id`: all that followed from one thing. `after_id`: only later ones.
    """
    request = pb.EventsRequest(
        follow=follow,
        since_s=since_s,
        limit=limit,
        kind=kind,
        name=name,
        cause_id=cause_id,
        after_id=after_id,
    )
    return _events(request, lambda answer: answer.events, on_notice)


def read_events(request: pb.EventsRequest, *, on_notice: Notice = log) -> Stream[pb.EventsResponse]:
    """As `events`, in the API's own answers: many events at once."""
    return _events(request, lambda answer: [answer], on_notice)


def metrics(name: str) -> Steps[pb.MetricsResponse]:
    """What a run's replicas use now."""
    request = pb.MetricsRequest(run_name=name)
    return (
        yield from until(Stream(methods.METRICS, lambda: request, _itself, End.ONCE, READ_DEADLINE_S), lambda it: it)
    )


def watch_metrics(name: str, *, interval_s: float = 0.0, on_notice: Notice = log) -> Stream[pb.MetricsResponse]:
    """The same each `interval_s` (0: 2 s) until the run ends."""
    request = pb.MetricsRequest(run_name=name, follow=True, interval_s=interval_s)
    return Stream(methods.METRICS, lambda: request, _itself, End.OVER, on_notice=on_notice)


def usage(*, since_s: float = 0.0, by: Sequence[str] = ()) -> Steps[pb.UsageResponse]:
    """Who called what: requests, and the tokens that models counted.

    `by`: what rows tell apart: token, service, model, user, hour, day; empty: the first three. `since_s`: 0: all that is kept.
    """
    return (yield from call(methods.USAGE, pb.UsageRequest(since_s=since_s, by=by)))


def _logs(
    request: pb.LogsRequest, read: Callable[[pb.LogsResponse], Iterable[Item]], on_notice: Notice
) -> Stream[Item]:
    if not request.follow:
        return Stream(methods.LOGS, lambda: request, read, End.ONCE, LOGS_DEADLINE_S)
    reader = LogReader(request)

    def noted(answer: pb.LogsResponse) -> Iterable[Item]:
        reader.note(answer)
        return read(answer)

    return Stream(methods.LOGS, reader.request, noted, End.OVER, LOGS_DEADLINE_S, on_notice=on_notice)


def _events(
    given: pb.EventsRequest, read: Callable[[pb.EventsResponse], Iterable[Item]], on_notice: Notice
) -> Stream[Item]:
    request = pb.EventsRequest()
    request.CopyFrom(given)

    def noted(answer: pb.EventsResponse) -> Iterable[Item]:
        request.after_id = answer.last_id  # a follow that breaks goes on there
        return read(answer)

    if request.follow:
        return Stream(methods.EVENTS, lambda: request, noted, End.TROUBLE, on_notice=on_notice)
    return Stream(methods.EVENTS, lambda: request, noted, End.ONCE, READ_DEADLINE_S)


def _itself(answer: pb.MetricsResponse) -> Iterable[pb.MetricsResponse]:
    return [answer]


def _line(entry: pb.LogEntry) -> LogLine:
    return LogLine(
        text=entry.text.removesuffix(b"\n").decode(errors="replace"),
        data=entry.text,
        replica=entry.replica,
        revision=entry.revision,
        replica_id=entry.replica_id,
        stream=entry.stream,
        timestamp=entry.timestamp,
    )
