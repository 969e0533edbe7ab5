"""Log lines on their way from a host to a reader."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    text: bytes  # without its line end
    stream: str  # "stdout", "stderr" or "access"
    timestamp: str  # RFC 3339 with nanoseconds, as the engine gives it


@dataclass(frozen=True, slots=True)
class LogQuery:
    replica_id: str
    follow: bool
    tail: int  # last lines; -1: all
    since_s: float  # age; 0: no limit
    after: str = ""  # how far the reader has come (homeport_protos.logs.LogPosition): only later lines
    access: str = ""  # a service: what a gateway wrote of it in its access log, instead of a replica's log
    gateway: str = ""  # with access: which one of that host
