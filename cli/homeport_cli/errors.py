"""What the command line tells a user who cannot be served: one line, and an exit code.

CliError                one line: what happened, why, what to do; exit code 1: the work failed
├── UsageError          the caller's mistake (a flag, a file, a document); exit code 2
├── NotLoggedIn         no server is known here, or it does not take our token
└── Unreachable         the server did not answer; the same call may work in a moment
    └── TooSlow         ... within the deadline of the call

gRPC statuses become these in `status_error`. What it does not cover: bugs of ours, which stay tracebacks.
"""

import re
from collections.abc import Sequence


class CliError(Exception):
    """`str(error)` is the line; `details` are further lines under it (a file's problems, a log's tail)."""

    exit_code = 1

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class UsageError(CliError):
    exit_code = 2


class NotLoggedIn(CliError):
    pass


class Unreachable(CliError):
    pass


class TooSlow(Unreachable):
    pass


def status_error(code: str, message: str, server: str, deadline_s: float) -> CliError:
    """The error that a gRPC status means to a user. `code` is the status's name, such as "UNAVAILABLE"."""
    said = one_line(message)
    if code == "UNAUTHENTICATED":
        said = said or "the server does not accept the token"
        return NotLoggedIn(said if "`homeport " in said else f"{said}; run `homeport login` with a valid token")
    if code == "PERMISSION_DENIED":
        return CliError(said or "the token may not do this; use the token of an admin")
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
        return UsageError(said or "the server calls the request invalid")
    if code == "UNIMPLEMENTED":
        return CliError(f"the server at {server} does not know this request; are the versions of homeport the same?")
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        return CliError("the message is too large for the server; make the document smaller")
    return CliError(said or f"the server answered {code} and no reason; its log says more")


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
