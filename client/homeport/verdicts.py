"""When what a run was asked to do is over, and how: it serves, it failed, it has ended.

Pure: runs as the API lists them in, verdicts out. What it does not cover: watching them (`operations`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

ENDED = frozenset({"terminated", "failed", "done"})
LEAVING = frozenset({"terminating", "terminated"})
LOG_LINES = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """The work failed: a sentence that names the run, and the last lines that the replica wrote."""

    reason: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """All wanted replicas are in rotation with the revision that was applied."""


def pick(runs: Iterable[api_pb2.Run], run_id: str, name: str = "") -> api_pb2.Run | None:
    """The run by its id; without an id the newest of that name. None: the server does not list it."""
    if run_id:
        return next((run for run in runs if run.id == run_id), None)
    named = [run for run in runs if run.name == name]
    return max(named, key=lambda run: run.submitted_at.ToNanoseconds(), default=None)


def deployed(run: api_pb2.Run, revision: int) -> Published | Failure | None:
    """How the applying of `revision` ended; None while it goes on."""
    tail = tuple(run.log_tail)[-LOG_LINES:]
    why = run.error or run.reason
    if run.state == "failed":
        return Failure(f"the run {run.name} failed: {why or 'the server gave no reason'}", tail)
    if run.state in {"terminating", "terminated", "done"}:
        return Failure(f"the run {run.name} ended before it was ready: {why or run.state}", tail)
    newest = max(run.revision, run.newest_revision)
    if newest > revision:
        return Failure(
            f"revision {newest} of {run.name} was applied meanwhile and takes the place of revision {revision}"
        )
    if run.revision < revision == run.newest_revision:
        goes_on = f"; revision {run.revision} goes on serving" if run.revision else ""
        return Failure(f"the update of {run.name} failed: {run.error or 'it was given up'}{goes_on}", tail)
    if run.rolled_out and run.revision == revision:
        return Published()
    return None


def rolled_back(run: api_pb2.Run, revision: int) -> Published | Failure | None:
    """How the going back to `revision` ended; None while it goes on."""
    why = run.error or run.reason
    if stopped(run) or run.state == "terminating":
        return Failure(
            f"the run {run.name} ended before it was back: {why or run.state}", tuple(run.log_tail)[-LOG_LINES:]
        )
    if run.revision != revision:
        return Failure(f"revision {run.revision} of {run.name} is wanted now and not revision {revision}: {why}")
    return Published() if run.rolled_out else None


def stopped(run: api_pb2.Run | None) -> bool:
    return run is None or run.state in ENDED


class Stopping:
    """Of the runs that have these names when it is first asked; a later run of the same name is another one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._ids: dict[str, str] = {}

    def runs(self, listed: Iterable[api_pb2.Run]) -> list[api_pb2.Run]:
        """Those among them that are still listed."""
        listed = list(listed)
        found = [run for name in self._names if (run := pick(listed, self._ids.get(name, ""), name))]
        for run in found:
            self._ids.setdefault(run.name, run.id)
        return found

    def is_over(self, listed: Iterable[api_pb2.Run]) -> bool:
        return all(map(stopped, self.runs(listed)))
