"""Connections to the web port, which everybody may open: so many of one address, and each has a time to ask and to be answered.

uvicorn counts all connections together and waits for a request as long as it takes, so that one stranger with a hundred
silent connections would keep the install script from everybody.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from homeport_control.trust.guesses import group_of


@dataclass(frozen=True, slots=True)
class WebLimits:
    of_address: int = 64  # connections; hosts behind one NAT that join at once have so many together
    of_all: int = 512
    request_s: float = 10.0  # from the connection, or the answer before, to the end of the request's headers
    answer_s: float = 3600.0  # to be sent: a bundle over a slow line


def bounded_protocol(limits: WebLimits) -> type[H11Protocol]:
    """uvicorn's protocol with these limits, to be given to one server."""
    counts: Counter[str] = Counter()

    class Bounded(H11Protocol):
        _group = ""
        _deadline: asyncio.TimerHandle | None = None
        _is_answered = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._group = group_of(self.client[0] if self.client else "")
            counts[self._group] += 1
            if counts[self._group] > limits.of_address:
                transport.abort()
            else:
                self._within(limits.request_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._within(None)
            counts[self._group] -= 1
            if counts[self._group] <= 0:
                del counts[self._group]
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:
                self._is_answered = False
                self._within(limits.answer_s)

        def on_response_complete(self) -> None:
            self._is_answered = True
            self._within(limits.request_s)
            super().on_response_complete()

        def _within(self, seconds: float | None) -> None:
            """The connection is cut when nothing of this kind happens in time."""
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = None if seconds is None else self.loop.call_later(seconds, self._cut)

        def _cut(self) -> None:
            if not self._is_answered:
                self.transport.abort()
            elif not self.transport.is_closing():
                # An answer is complete when it is in the buffer; a slow line has asyncio's 30 s more to take it.
                self.transport.close()

    return Bounded


def options(limits: WebLimits) -> dict[str, Any]:
    """For uvicorn's Config."""
    return {
        "http": bounded_protocol(limits),
        "ws": "none",
        "limit_concurrency": limits.of_all,
        "timeout_keep_alive": 5,
        "proxy_headers": False,  # nobody stands in front with HTTP: who names another address hides its own from the limits
    }
