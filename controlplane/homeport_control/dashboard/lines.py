"""Lines of logs and events as a page shows them. Pure.

What a program wrote is shown as text: without colours and other orders to a terminal, and a line is cut at a length that a
browser can lay out.
"""

import json
import re
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

MOST_CHARACTERS = 4000  # of a line
_ORDERS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class LogLine:
    time: str  # "14:03:59", of the host that wrote it
    replica: str  # index; empty: a gateway wrote it
    text: str
    tone: str  # "bad": written to the error stream


@dataclass(frozen=True, slots=True)
class EventRow:
    at_s: float
    kind: str
    name: str
    actor: str
    cause: str
    sentence: str


def event_row(event: api_pb2.Event) -> EventRow:
    at_s = event.at.seconds + event.at.nanos / 1e9
    return EventRow(at_s, event.kind, event.name, event.actor, event.cause_id, event.sentence)


def log_line(entry: api_pb2.LogEntry, *, is_access: bool = False) -> LogLine:
    text = entry.text.decode(errors="replace").rstrip("\r\n")
    if is_access:
        text = access_text(text)
    text = _CONTROLS.sub("", _ORDERS.sub("", text))
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]} … ({len(text)} characters)"
    return LogLine(
        entry.timestamp[11:19], "" if is_access else str(entry.replica), text, "bad" if entry.stream == "stderr" else ""
    )


def access_text(line: str) -> str:
    """A line of the access log as a reader wants it; as it is when it is another."""
    try:
        said = json.loads(line)
        status, took_ms = said["status"], said.get("duration_ms")
        words = [str(status), str(said["method"]), str(said["path"])]
    except (ValueError, AttributeError, TypeError, KeyError):
        return line
    words += [f"{took_ms} ms"] if took_ms is not None else []
    words += [f"token {said['token']}"] if said.get("token") else []
    return "  ".join((*words, str(said.get("client") or "")))
