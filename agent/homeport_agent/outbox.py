"""What waits to be said on the session: the newest report, the newest readings, and a bounded number of log messages.

Covers the waiting only. Reports and readings are made when they are taken, so they are never old ones; log messages wait for
room, so a slow session slows the log that is read.
"""

import asyncio
from collections import deque
from contextlib import suppress
from enum import Enum

from homeport_protos.agent.v1 import agent_pb2

LOG_MESSAGES = 16


class Due(Enum):
    REPORT = "report"
    TELEMETRY = "telemetry"


class SessionClosed(Exception):
    """There is no session to say it on."""


class Outbox:
    def __init__(self) -> None:
        self._messages: deque[agent_pb2.FromAgent] = deque()
        self._is_report_due = self._is_telemetry_due = False
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closed = False

    def report_due(self) -> None:
        """Something changed: a report goes out next."""
        self._is_report_due = True
        self._has_news.set()

    def telemetry_due(self) -> None:
        """There are new readings: they go out after a report that is due, before log messages."""
        self._is_telemetry_due = True
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

    async def take(self, wait_s: float) -> "agent_pb2.FromAgent | Due":
        """The next log message, or what is to be made now; a report is due after `wait_s` seconds at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._has_news.wait()
        try:
            if self._is_report_due or not (self._is_telemetry_due or self._messages):
                self._is_report_due = False
                return Due.REPORT
            if self._is_telemetry_due:
                self._is_telemetry_due = False
                return Due.TELEMETRY
            self._has_room.set()
            return self._messages.popleft()
        finally:
            if not (self._is_report_due or self._is_telemetry_due or self._messages):
                self._has_news.clear()

    def close(self) -> None:
        """Nobody takes any more: whoever waits for room is told so."""
        self._is_closed = True
        self._messages.clear()
        self._has_room.set()
