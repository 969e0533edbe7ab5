"""What waits to be said on the session: the newest report, and a bounded number of log messages.

Covers the waiting only. A report is made when it is taken, so it is never an old one; log messages wait for room, so
a slow session slows the log that is read.
"""

import asyncio
from collections import deque
from contextlib import suppress

from homeport_protos.agent.v1 import agent_pb2

LOG_MESSAGES = 16


class SessionClosed(Exception):
    """There is no session to say it on."""


class Outbox:
    def __init__(self) -> None:
        self._messages: deque[agent_pb2.FromAgent] = deque()
        self._is_report_due = False
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closed = False

    def report_due(self) -> None:
        """Something changed: a report goes out next."""
        self._is_report_due = True
        self._has_news.set()

    async def put(self, message: agent_pb2.FromAgent) -> None:
        """Wait for room, then queue. Raises SessionClosed."""
        while len(self._messages) >= LOG_MESSAGES and not self._is_closed:
            self._has_room.clear()
            await self._has_room.wait()
        if self._is_closed:
            raise SessionClosed
        self._messages.append(message)
        self._has_news.set()

    async def take(self, wait_s: float) -> agent_pb2.FromAgent | None:
        """The next log message; None when a report is due, which is so after `wait_s` seconds at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._has_news.wait()
        if self._is_report_due or not self._messages:
            self._is_report_due = False
            if not self._messages:
                self._has_news.clear()
            return None
        message = self._messages.popleft()
        self._has_room.set()
        if not self._messages:
            self._has_news.clear()
        return message

    def close(self) -> None:
        """Nobody takes any more: whoever waits for room is told so."""
        self._is_closed = True
        self._messages.clear()
        self._has_room.set()
