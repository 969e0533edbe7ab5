"""What a session's agent said last, so that a report that says the same again costs no write.

An agent reports each few seconds whether anything changed or not: with a thousand of them that was the disk's whole day.
As a net what is said is written anew each `RESYNC_S` all the same. Reports of one session come in order, and the first one
of each is always written, so a late one of an older session is still refused by its sequence (store/hosts.accept_report).
"""

import time
from collections.abc import Callable

from homeport_protos.agent.v1 import agent_pb2

RESYNC_S = 30.0


class Heard:
    """Of one session."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: agent_pb2.Report | None = None
        self._written_s = float("-inf")

    def is_known(self, report: agent_pb2.Report) -> bool:
        """Whether all of it is written already."""
        if self._said is None or self._clock() - self._written_s >= RESYNC_S:
            return False
        return self._said == _content(report)

    def written(self, report: agent_pb2.Report) -> None:
        content = _content(report)
        # These are told when they have changed only: a report without them says the same as one with the old ones.
        content.ClearField("facts")
        content.ClearField("findings")
        self._said, self._written_s = content, self._clock()


def _content(report: agent_pb2.Report) -> agent_pb2.Report:
    """Without what differs between two reports that say the same."""
    content = agent_pb2.Report()
    content.CopyFrom(report)
    content.ClearField("sequence")
    content.ClearField("accepted_generation")  # nothing is made of it
    return content
