"""One run while it is watched: what each replica is doing, what is new since the last look, and when it is over.

Pure: answers of the API in, lines and verdicts out. What it does not cover: waiting and printing (`watch`).
"""

import re
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.render import ENDED, LEAVING, STATE_STYLES, replica_trouble, size

LOG_LINES = 20
PULL_STEP_PERCENT = 10  # plain lines: so often and not more, whatever the size
PULL_STEP_BYTES = 100_000_000  # ... while the total is not known


@dataclass(frozen=True, slots=True)
class Failure:
    """The work failed: a sentence that names the run, and the last lines that the replica wrote."""

    reason: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """All wanted replicas are in rotation with the revision that was applied."""


def pick(answer: api_pb2.ListRunsResponse, run_id: str, name: str = "") -> api_pb2.Run | None:
    """The run by its id; without an id the newest of that name. None: the server does not list it."""
    if run_id:
        return next((run for run in answer.runs if run.id == run_id), None)
    named = [run for run in answer.runs if run.name == name]
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


def summary(run: api_pb2.Run) -> str:
    """ "hello: provisioning, 1/2 in rotation". The reason only where no line of a replica says it: before and after them."""
    serving = sum(replica.in_rotation and replica.revision == run.revision for replica in run.replicas)
    is_leaving = run.state in LEAVING
    line = f"{run.name}: {run.state}"
    if run.replicas_wanted and not is_leaving:
        line += f", {serving}/{run.replicas_wanted} in rotation"
    is_news = run.reason not in {"", run.state} and (is_leaving or not run.replicas)
    return f"{line}: {run.reason}" if is_news else line


def doing(replica: api_pb2.Replica) -> str:
    """What a replica does now, in words: "pulling 120MB of 1.2GB"."""
    words = replica.state
    if replica.state == "running":
        words = "in rotation" if replica.in_rotation else "ready, waiting for the gateway"
    elif replica.state == "pulling" and replica.pulled_bytes:
        words = f"pulling {size(replica.pulled_bytes)}"
        if replica.pull_total_bytes:
            words += f" of {size(replica.pull_total_bytes)}"
    elif replica.state == "probing" and replica.probes_total:
        words = f"probing, {replica.probes_passed} of {replica.probes_total} passed"
    if replica.restarts:
        words += f" ({replica.restarts} restart{'s' if replica.restarts > 1 else ''})"
    trouble = replica_trouble(replica)
    return f"{words}: {trouble}" if trouble else words


def replica_line(replica: api_pb2.Replica, run: api_pb2.Run) -> str:
    line = f"replica {replica.index}"
    if run.revision > 1:
        line += f" (revision {replica.revision})"
    if replica.host:
        line += f" on {replica.host}"
    return f"{line}: {doing(replica)}"


class Announcer:
    """Plain lines for a reader without a terminal: each thing once, when it changes."""

    def __init__(self) -> None:
        self._summary = ""
        self._keys: dict[str, str] = {}

    def news(self, run: api_pb2.Run) -> list[str]:
        lines = []
        if (now := summary(run)) != self._summary:
            self._summary = now
            lines.append(now)
        for replica in run.replicas:
            key = _key(replica)
            seen = self._keys.get(replica.id)
            self._keys[replica.id] = key
            # One that had ended before we looked is no news.
            if key != seen and not (seen is None and replica.state in ENDED):
                lines.append(replica_line(replica, run))
        return lines


def live(run: api_pb2.Run) -> RenderableType:
    """The same for a terminal: the whole picture, to be drawn over the last one."""
    lines = [Text(summary(run), style="bold")]
    for replica in run.replicas:
        if replica.state not in ENDED or replica.revision == run.revision:
            style = STATE_STYLES.get("in rotation" if replica.in_rotation else replica.state, "")
            lines.append(Text(f"  {replica_line(replica, run)}", style=style))
    return Group(*lines)


def _key(replica: api_pb2.Replica) -> str:
    if replica.state != "pulling":
        # Messages count seconds and tries; a line for each of them would bury the others.
        message = re.sub(r"[0-9]+", "#", replica_trouble(replica))
        passed = f"{replica.probes_passed} {replica.restarts} {replica.in_rotation}"
        return f"{replica.host} {replica.state} {passed} {message}"
    if replica.pull_total_bytes:
        step = 100 * replica.pulled_bytes // replica.pull_total_bytes // PULL_STEP_PERCENT
    else:
        step = replica.pulled_bytes // PULL_STEP_BYTES
    return f"{replica.host} pulling {step}"
