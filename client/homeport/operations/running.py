"""Runs: listing, watching, stopping and taking back. Applying one is `deploy`'s."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import methods
from homeport.errors import Failed, Invalid, NotFound
from homeport.steps import End, Notice, Steps, Stream, call, log, until
from homeport.verdicts import Failure, Published, Stopping, pick, rolled_back


def runs(*, finished: bool = False, names: Sequence[str] = ()) -> Steps[list[pb.Run]]:
    """The runs with their replicas. `finished`: also those that are over. `names`: only these; empty: all."""
    answer = yield from call(methods.LIST_RUNS, pb.ListRunsRequest(all=finished, names=names))
    return list(answer.runs)


def run(name: str) -> Steps[pb.Run]:
    """The newest run of that name, also when it is over. Raises NotFound."""
    listed = yield from runs(finished=True, names=[name])
    return found(pick(listed, "", name), name)


def watch_runs(
    *, finished: bool = False, names: Sequence[str] = (), within_s: float | None = None, on_notice: Notice = log
) -> Stream[list[pb.Run]]:
    """The whole list, at once and after each change, without an end; over a server that goes away and comes back."""
    request = pb.ListRunsRequest(all=finished, names=names)
    return Stream(
        methods.WATCH_RUNS,
        lambda: request,
        lambda answer: [list(answer.runs)],
        End.TROUBLE,
        within_s=within_s,
        on_notice=on_notice,
    )


def stop(
    *names: str, abort: bool = False, wait: bool = True, within_s: float | None = None, on_notice: Notice = log
) -> Steps[pb.StopRunsResponse]:
    """Drain, SIGTERM, then SIGKILL after the run's stop_duration; `abort`: SIGKILL at once. Which are stopping, which were.

    `wait`: until they are ended, for `within_s` at most: then TooSlow, and they go on stopping.
    """
    answer = yield from call(methods.STOP_RUNS, pb.StopRunsRequest(names=names, abort=abort))
    if wait and answer.stopping:
        stopping = Stopping(answer.stopping)
        watch = watch_runs(finished=True, names=answer.stopping, within_s=within_s, on_notice=on_notice)
        yield from until(watch, lambda listed: True if stopping.is_over(listed) else None)
    return answer


def plan_rollback(name: str) -> Steps[pb.RollbackResponse]:
    """From which revision to which `rollback` would go; changes nothing."""
    return (yield from call(methods.ROLLBACK, pb.RollbackRequest(name=name, plan_only=True)))


def rollback(
    name: str, *, from_revision: int = 0, wait: bool = True, within_s: float | None = None, on_notice: Notice = log
) -> Steps[pb.RollbackResponse]:
    """Back to the revision before the present one, make before break; the present one is given up.

    `from_revision`: Refused when another one is the present one by now; 0: whichever it is. `wait`: until only the earlier one
    is there, for `within_s` at most; Failed when it does not come to that.
    """
    done = yield from call(methods.ROLLBACK, pb.RollbackRequest(name=name, from_revision=from_revision))
    if wait:

        def look(listed: list[pb.Run]) -> Published | Failure | None:
            return rolled_back(found(pick(listed, done.run_id), name), done.to_revision)

        watch = watch_runs(finished=True, names=[name], within_s=within_s, on_notice=on_notice)
        end = yield from until(watch, look)
        if isinstance(end, Failure):
            raise Failed(end.reason, end.log_tail)
    return done


def scale(name: str, replicas: int | str, *, from_revision: int = 0) -> Steps[pb.ScaleResponse]:
    """The newest revision again with so many replicas, as its file says it: 3, or "1..4" for a service with `scaling`.

    Nothing that goes on is restarted; the next apply of the file has the file's number again. `from_revision`: Refused when
    another one is the newest by now; 0: whichever it is.
    """
    request = pb.ScaleRequest(name=name, replicas=str(replicas), from_revision=from_revision)
    return (yield from call(methods.SCALE, request))


def offers(wanted: Mapping[str, Any] | None = None, *, reuse: bool = False) -> Steps[pb.ListOffersResponse]:
    """The hosts on which something could run, and why it could not on the others.

    `wanted`: keys of a service's document: {"resources": {"gpu": "24GB"}, "fleets": ["lab"]}. Raises Invalid.
    """
    answer = yield from list_offers(json.dumps(dict(wanted or {})), reuse=reuse)
    if answer.problems:
        lines = [": ".join(filter(None, (it.path, it.message))) for it in answer.problems]
        raise Invalid(lines[0], lines[1:])
    return answer


def list_offers(document_json: str, *, reuse: bool = False) -> Steps[pb.ListOffersResponse]:
    """As `offers`, with what is wrong as an answer."""
    return (yield from call(methods.LIST_OFFERS, pb.ListOffersRequest(json=document_json, reuse=reuse)))


def found(run: pb.Run | None, name: str) -> pb.Run:
    if run is None:
        raise NotFound(f"no run {name}; `homeport ps -a` shows all")
    return run
