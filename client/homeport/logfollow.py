"""Where a reader of logs stands, so that a follow which broke goes on: no line is lost and none comes twice.

Pure but for the clock. What it does not cover: opening the stream, and waiting for a server that is away (`client`).
"""

import time
from collections.abc import Callable

from homeport_protos.api.v1 import api_pb2
from homeport_protos.logs import LogPosition


class LogReader:
    """`request()` before each opening, `note()` with each answer."""

    def __init__(self, request: api_pb2.LogsRequest, clock: Callable[[], float] = time.monotonic) -> None:
        self._request = request
        self._clock = clock
        self._began_s: float | None = None
        self._positions: dict[str, LogPosition] = {}

    def note(self, answer: api_pb2.LogsResponse) -> None:
        for entry in answer.entries:
            self._positions.setdefault(entry.replica_id, LogPosition()).note(entry.stream, entry.timestamp)

    def request(self) -> api_pb2.LogsRequest:
        """The first time as it was asked for; then what came since, whatever `tail` was."""
        if self._began_s is None:
            self._began_s = self._clock()
            return self._request
        gone_s = self._clock() - self._began_s
        again = api_pb2.LogsRequest()
        again.CopyFrom(self._request)
        if again.tail >= 0:
            again.tail, again.since_s = -1, gone_s
        elif again.since_s:
            again.since_s += gone_s
        for replica_id, position in self._positions.items():
            again.after[replica_id] = str(position)
        return again
