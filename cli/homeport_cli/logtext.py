"""Log entries as `logs` writes them: bytes with prefixes and timestamps and nothing else touched, or a JSON object per line."""

import base64
import json
from collections.abc import Callable

from homeport_protos.api.v1 import api_pb2

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # SGR codes, by index
SHORT_ID = 6

ToBytes = Callable[[api_pb2.LogEntry], bytes]


class LogText:
    """`[index] ` stands before each line once there is more than one replica to tell apart.

    When two of them have the same index (one takes the place of the other): `[0 r2] ` with the revision, or `[0 3f9a1c] `
    with the beginning of the id where the revision is the same too.
    """

    def __init__(self, *, timestamps: bool, several: bool, colour: bool = False) -> None:
        self._timestamps = timestamps
        self._several = several
        self._colour = colour
        self._seen: dict[int, dict[str, int]] = {}  # by index: id -> revision
        self._prefixes: dict[tuple[int, str], bytes] = {}

    def line(self, entry: api_pb2.LogEntry) -> bytes:
        prefix = self._prefixes.get((entry.replica, entry.replica_id))
        if prefix is None:
            prefix = self._new(entry)
        if self._timestamps:
            prefix += entry.timestamp.encode() + b" "
        return prefix + entry.text.removesuffix(b"\n") + b"\n"

    def _new(self, entry: api_pb2.LogEntry) -> bytes:
        """A replica that was not there before changes how the others of its index are called."""
        self._seen.setdefault(entry.replica, {})[entry.replica_id] = entry.revision
        self._several = self._several or sum(map(len, self._seen.values())) > 1
        self._prefixes = {
            (index, replica_id): self._prefix(index, replica_id) if self._several else b""
            for index, ids in self._seen.items()
            for replica_id in ids
        }
        return self._prefixes[entry.replica, entry.replica_id]

    def _prefix(self, index: int, replica_id: str) -> bytes:
        revisions = self._seen[index]
        name = f"[{index}]"
        if len(revisions) > 1:
            is_alone = list(revisions.values()).count(revisions[replica_id]) == 1
            name = f"[{index} r{revisions[replica_id]}]" if is_alone else f"[{index} {replica_id[:SHORT_ID]}]"
        if self._colour:
            name = f"\x1b[{COLOURS[index % len(COLOURS)]}m{name}\x1b[0m"
        return f"{name} ".encode()


def json_line(entry: api_pb2.LogEntry) -> bytes:
    """One object: what is no UTF-8 comes as `text_base64` too, since `text` cannot hold it."""
    line: dict[str, object] = {
        "replica": entry.replica,
        "replica_id": entry.replica_id,
        "revision": entry.revision,
        "stream": entry.stream,
        "timestamp": entry.timestamp,
    }
    try:
        line["text"] = entry.text.decode()
    except UnicodeDecodeError:
        line["text"] = entry.text.decode("utf-8", "replace")
        line["text_base64"] = base64.b64encode(entry.text).decode()
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
