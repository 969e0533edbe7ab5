"""Log entries as the bytes that `logs` writes: prefixes and timestamps, nothing else touched."""

from homeport_protos.api.v1 import api_pb2


class LogText:
    """`[index] ` stands before each line once there is more than one replica to tell apart."""

    def __init__(self, *, timestamps: bool, several: bool) -> None:
        self._timestamps = timestamps
        self._several = several
        self._first: int | None = None

    def line(self, entry: api_pb2.LogEntry) -> bytes:
        if self._first is None:
            self._first = entry.replica
        self._several = self._several or entry.replica != self._first
        prefix = f"[{entry.replica}] " if self._several else ""
        if self._timestamps:
            prefix += f"{entry.timestamp} "
        return prefix.encode() + entry.text.removesuffix(b"\n") + b"\n"
