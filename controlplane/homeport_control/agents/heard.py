"""What a session's agent said last, and what of that is not written yet: a report that says the same again costs no write,
and one that waits for the database while a newer one comes is never written.

An agent reports each few seconds whether anything changed or not: with a thousand of them that was the disk's whole day.
As a net what is said is written anew each `RESYNC_S` all the same, in a large fleet more rarely. Reports of one session come
in order, and the first one of each is always written, so a late one of an older session is still refused by its sequence
(store/hosts.accept_report).
"""

import asyncio
import time
from collections.abc import Callable

from homeport_protos.agent.v1 import agent_pb2

RESYNC_S = 30.0


class Heard:
    """Of one session."""

    def __init__(self, rarer: Callable[[], float] = lambda: 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`rarer()`: how many times as long as `RESYNC_S` the net may wait (sessions.Sessions.rarer)."""
        self._rarer = rarer
        self._clock = clock
        self._said: agent_pb2.Report | None = None
        self._written_s = float("-inf")

    def is_known(self, report: agent_pb2.Report) -> bool:
        """Whether all of it is written already."""
        if self._said is None or self._clock() - self._written_s >= RESYNC_S * self._rarer():
            return False
        return self._said == _content(report)

    def written(self, report: agent_pb2.Report) -> None:
        content = _content(report)
        # These are told when they have changed only: a report without them says the same as one with the old ones.
        content.ClearField("facts")
        content.ClearField("findings")
        self._said, self._written_s = content, self._clock()


class Inbox:
    """The newest report that is not written yet. Each holds the whole state, but for facts and findings: these are told when
    they have changed only, so they stay until they are written, whatever comes after them."""

    def __init__(self) -> None:
        self._newest: agent_pb2.Report | None = None
        self._has_news = asyncio.Event()
        self._is_done = asyncio.Event()
        self._is_done.set()

    def put(self, report: agent_pb2.Report) -> None:
        before = self._newest
        if before is not None:
            if before.HasField("facts") and not report.HasField("facts"):
                report.facts.CopyFrom(before.facts)
            if before.HasField("findings") and not report.HasField("findings"):
                report.findings.CopyFrom(before.findings)
        self._newest = report
        self._has_news.set()
        self._is_done.clear()

    async def take(self) -> agent_pb2.Report:
        """The newest one; waits for it. It counts as written when the next one is asked for."""
        while (report := self._newest) is None:
            self._is_done.set()
            self._has_news.clear()
            await self._has_news.wait()
        self._newest = None
        return report

    async def written(self) -> None:
        """Returns when nothing waits any more."""
        await self._is_done.wait()


def _content(report: agent_pb2.Report) -> agent_pb2.Report:
    """Without what differs between two reports that say the same."""
    content = agent_pb2.Report()
    content.CopyFrom(report)
    content.ClearField("sequence")
    content.ClearField("accepted_generation")  # nothing is made of it
    return content
