"""What a call can come to beside its answer. Each is one line: what happened, why, what to do.

Error                   the work failed; what none of these below says better
├── Invalid             the caller's mistake: an argument, a file, a document. Nothing was changed
├── Unauthenticated     no server or token is known here, or the server does not take our token
├── Denied              the token is known, and may not do this
├── NotFound            there is no such run, host, token ...
├── Refused             not now, not in this state, or not so much of it: the line says why
├── Failed              what was waited for came to another end: a run that did not get ready
└── Unreachable         the server did not answer; the same call may work in a moment
    └── TooSlow         ... or what was waited for did not come, within the time for it

gRPC statuses become these in `status_error`. What it does not cover: bugs of ours, which stay tracebacks.
"""

import re
from collections.abc import Sequence


class Error(Exception):
    """`str(error)` is the line; `details` are further lines under it (a file's problems, a log's tail)."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class Invalid(Error):
    pass


class Unauthenticated(Error):
    pass


class Denied(Error):
    pass


class NotFound(Error):
    pass


class Refused(Error):
    pass


class Failed(Error):
    """`log_tail`: the last lines that the replica wrote."""

    def __init__(self, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message, ["", "The last lines of its log:", *log_tail] if log_tail else ())
        self.log_tail = tuple(log_tail)


class Unreachable(Error):
    pass


class TooSlow(Unreachable):
    pass


_KINDS: dict[str, type[Error]] = {
    "NOT_FOUND": NotFound,
    "FAILED_PRECONDITION": Refused,
    "ABORTED": Refused,
    "ALREADY_EXISTS": Refused,
    "RESOURCE_EXHAUSTED": Refused,
}


def status_error(code: str, message: str, server: str, deadline_s: float) -> Error:
    """The error that a gRPC status means to a user. `code` is the status's name, such as "UNAVAILABLE"."""
    said = one_line(message)
    if code == "UNAUTHENTICATED":
        said = said or "the server does not accept the token"
        return Unauthenticated(said if "`homeport " in said else f"{said}; run `homeport login` with a valid token")
    if code == "PERMISSION_DENIED":
        return Denied(said or "the token may not do this; use the token of an admin")
    if code == "UNAVAILABLE":
        if _OF_SEVERAL.search(said):
            return Unreachable(said)
        if why := _certificate_trouble(message):
            return Unreachable(f"cannot trust the server at {server}: {why}; run `homeport login` again with its CA")
        return Unreachable(
            f"cannot reach the server at {server}: {_network_reason(message)}; "
            "is it running? `systemctl status homeport-server`"
        )
    if code == "DEADLINE_EXCEEDED":
        return TooSlow(
            f"the server at {server} did not answer within {deadline_s:g} s; is it overloaded, or a firewall in between?"
        )
    if code in {"INVALID_ARGUMENT", "OUT_OF_RANGE"}:
        return Invalid(said or "the server calls the request invalid")
    if code == "UNIMPLEMENTED":
        return Error(f"the server at {server} does not know this request; are the versions of homeport the same?")
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        return Refused("the message is too large for the server; make the document smaller")
    return _KINDS.get(code, Error)(said or f"the server answered {code} and no reason; its log says more")


# A server's own words for UNAVAILABLE, of one among several, end so; gRPC's never do.
_OF_SEVERAL = re.compile(r"; try again( in a moment)?$")


def one_line(text: str) -> str:
    return " ".join(text.split())


def _network_reason(message: str) -> str:
    """The reason inside gRPC's sentence: "failed to connect to all addresses; last error: UNKNOWN: ipv4:…: … (111)"."""
    if re.search(r"dns|name resolution|domain name", message, re.IGNORECASE):
        return "its name does not resolve"
    for known in ("connection refused", "no route to host", "network is unreachable", "connection reset"):
        if known in message.lower():
            return known
    if re.search(r"timed? ?out|timeout|deadline", message, re.IGNORECASE):
        return "no answer in time"
    if re.search(r"WRONG_VERSION_NUMBER|ssl|handshake", message, re.IGNORECASE):
        return "what listens there does not speak TLS as we do"
    if re.search(r"socket closed|goaway|stream removed|broken pipe|closing", message, re.IGNORECASE):
        return "it closed the connection"
    return one_line(message)[:200] or "no connection"


def _certificate_trouble(message: str) -> str:
    if re.search(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|certificate signature", message, re.IGNORECASE):
        return "its certificate is not signed by the CA that this machine knows"
    if re.search(r"hostname|peer name", message, re.IGNORECASE):
        return "its certificate names another server"
    return ""
