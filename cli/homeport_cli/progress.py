"""One run while it is watched: what each replica is doing, and what is new since the last look.

Pure: answers of the API in, lines out. What it does not cover: waiting and printing (`watch`), when it is over
(`homeport.verdicts`).
"""

import re

from homeport.code.words import size
from homeport.verdicts import ENDED, LEAVING
from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.render import STATE_STYLES, replica_trouble

PULL_STEP_PERCENT = 10  # plain lines: so often and not more, whatever the size
PULL_STEP_BYTES = 100_000_000  # ... while the total is not known


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
