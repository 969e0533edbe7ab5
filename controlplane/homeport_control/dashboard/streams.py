"""Pages as they change: server-sent events with the parts that are another, for who may see them.

Each viewer is let in by a call of its own, and looked at again every 15 s, as the API does with its streams.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass

import grpc
from markupsafe import escape
from starlette.responses import StreamingResponse

from homeport_control.dashboard.hub import Hub, Hubs
from homeport_control.dashboard.visits import LoggedOut, Visit, Visits
from homeport_control.relay.inside import Failed

CHECK_AGAIN_S = 15.0
PACE_S = 0.2  # between two events of a viewer
MOST_VIEWERS = 200  # of all pages; hosts that join come in at the same port
RETRY_MS = 1000
GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflate, no name, no time


@dataclass(frozen=True, slots=True)
class Source:
    """One hub that a page shows."""

    key: Hashable
    make: Callable[[], Hub]


class Streams:
    def __init__(self, hubs: Hubs, visits: Visits, check_again_s: float = CHECK_AGAIN_S) -> None:
        self._hubs = hubs
        self._visits = visits
        self._check_again_s = check_again_s
        self._viewers = 0
        # What was made last, of which parts: the same for all who saw the same, and as long as all that changed in a second.
        self._told_last: tuple[str, str, str] = ("", "", "")  # mark, text, event
        self._said = ("", b"")  # event, packed

    def stream(self, visit: Visit, sources: Sequence[Source]) -> StreamingResponse:
        """Raises Failed when too many look."""
        self._must_have_room()
        request = visit.request
        seen = request.headers.get("last-event-id") or request.query_params.get("since", "")
        events = self._events(visit, sources, seen)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return StreamingResponse(events, media_type="text/event-stream")
        # No secret of a session is in it, so what others wrote beside it gives nothing away by its length.
        return StreamingResponse(
            self._packed(events), media_type="text/event-stream", headers={"content-encoding": "gzip"}
        )

    def _must_have_room(self) -> None:
        """Raises Failed."""
        if self._viewers >= MOST_VIEWERS:
            why = f"{MOST_VIEWERS} pages are looked at, more are refused; close some"
            raise Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, why)

    async def _events(self, visit: Visit, sources: Sequence[Source], since: str) -> AsyncGenerator[str, None]:
        try:
            self._must_have_room()  # many may have been let in since, and looked at nothing yet
        except Failed as failed:
            yield _event(_state(str(failed)))
            return
        self._viewers += 1
        try:
            async with AsyncExitStack() as stack:
                bell = asyncio.Event()
                bell.set()
                hubs = [
                    await stack.enter_async_context(self._hubs.viewing(it.key, it.make, visit.reader, bell))
                    for it in sources
                ]
                async for text in self._changes(visit, hubs, bell, since):
                    yield text
        except Failed as failed:
            yield _event(_state(str(failed)))
        finally:
            self._viewers -= 1

    async def _changes(
        self, visit: Visit, hubs: list[Hub], bell: asyncio.Event, since: str
    ) -> AsyncGenerator[str, None]:
        seen = versions(since, hubs)
        loop = asyncio.get_running_loop()
        checked_s, told = loop.time(), ""
        yield f"retry: {RETRY_MS}\n\n"
        while True:
            is_closed = any(hub.is_closed for hub in hubs)
            if is_closed or loop.time() - checked_s >= self._check_again_s:
                if not await self._may(visit):
                    yield f"event: ended\ndata: {_state('You were signed out.')}\n\n"
                    return
                if is_closed:
                    return  # comes again
                checked_s = loop.time()
                yield ": still there\n\n"
            bell.clear()
            text = ""
            for place, hub in enumerate(hubs):
                if hub.page.is_filled and seen[place] < hub.page.version:
                    text += hub.page.since(seen[place])
                    seen[place] = hub.page.version
            trouble = next((hub.trouble for hub in hubs if hub.trouble), "")
            if trouble != told:
                told = trouble
                text += _state(trouble)
            if text:
                yield self._told(mark(hubs, seen), text)
                await asyncio.sleep(PACE_S)
            left_s = max(0.1, self._check_again_s - (loop.time() - checked_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await bell.wait()

    def _told(self, mark_: str, text: str) -> str:
        if self._told_last[:2] != (mark_, text):
            self._told_last = (mark_, text, f"id: {mark_}\n{_event(text)}")
        return self._told_last[2]

    async def _packed(self, events: AsyncGenerator[str, None]) -> AsyncIterator[bytes]:
        """As gzip: a tenth of the bytes. Each event is packed by itself, so one packing is for all viewers who get the same."""
        yield GZIP_HEAD
        async with aclosing(events) as texts:
            async for text in texts:
                if self._said[0] != text:
                    self._said = (text, pack(text))
                yield self._said[1]

    async def _may(self, visit: Visit) -> bool:
        try:
            await self._visits.who(visit.reader)
        except LoggedOut:
            return False
        except Failed:
            pass  # nobody leads now; that says nothing of the token
        return True


def pack(text: str) -> bytes:
    """A piece of a stream of deflate that needs nothing of what came before it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)


def mark(hubs: Sequence[Hub], seen: Sequence[int]) -> str:
    """How far a viewer has come, for its next request."""
    return ".".join(f"{hub.epoch}-{version}" for hub, version in zip(hubs, seen, strict=True))


def versions(since: str, hubs: Sequence[Hub]) -> list[int]:
    """What `mark` said; -1 for another hub: it sends everything."""
    said = dict(pair.split("-", 1) for pair in since.split(".") if "-" in pair)
    return [int(text) if (text := said.get(hub.epoch, "")).isdecimal() else -1 for hub in hubs]


def _state(words: str) -> str:
    return f'<p id="trouble" role="alert" hx-swap-oob="true">{escape(words)}</p>'


def _event(text: str) -> str:
    return "".join(f"data: {line}\n" for line in text.split("\n") if line) + "\n"
