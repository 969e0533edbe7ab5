"""One watch and one drawing of a page for all who look at it.

A hub's feed runs by the token of one of its viewers; when that one ends, by another's. Every viewer is let in by a call of
its own (streams.py), so nobody sees by another's token. Covers who looks, the feed's life, its breaks in words.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import grpc
import structlog

from homeport_control.dashboard.board import Page
from homeport_control.relay.inside import Failed, Reader

LINGER_S = 10.0  # a feed lives on after its last viewer: a page is opened, then its stream
PAUSE_S = 1.0  # after a break
FIRST_S = 8.0  # to the first picture of a page that is opened
MOST_HUBS = 64  # different pages that are watched at a time
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
FINAL = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
Feed = Callable[[Reader], AsyncGenerator[None, None]]  # yields after each change that it has put on its page
log = structlog.get_logger()


class Hub:
    """`page` is what `feed` fills. `run` while somebody looks; Hubs sees to that."""

    def __init__(self, page: Page, feed: Feed) -> None:
        self.page = page
        self.trouble = ""  # why it is not as it is now; empty: it is
        self.is_over = False  # nothing more comes
        self.is_closed = False  # whoever still looks comes again, to another one
        self.epoch = secrets.token_hex(4)  # versions of its page mean something in it alone
        self._feed = feed
        self._viewers: dict[_Ring, Reader] = {}
        self._glance: Reader | None = None

    @asynccontextmanager
    async def viewing(self, reader: Reader, bell: asyncio.Event) -> AsyncIterator[None]:
        """One more who looks, until the end of the block. `bell` is set when something is another."""
        ring = _Ring(bell)
        self._viewers[ring] = self._glance = reader
        try:
            yield
        finally:
            del self._viewers[ring]

    @property
    def is_viewed(self) -> bool:
        return bool(self._viewers)

    async def first(self, bell: asyncio.Event, timeout_s: float = FIRST_S) -> None:
        """Until there is something to show, or a reason why not. `bell`: of a viewer. Raises Failed."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (self.page.is_filled or self.is_over or self.is_closed or self.trouble):
                    await bell.wait()
                    bell.clear()
        except TimeoutError:
            why = f"nothing could be read within {timeout_s:g} s; try again"
            raise Failed(grpc.StatusCode.UNAVAILABLE, why) from None

    async def run(self) -> None:
        """Until the feed is over, or nobody is there by whose token it could go on."""
        refused: set[str] = set()
        while not self.is_over:
            reader = next(
                (it for it in (*self._viewers.values(), self._glance) if it and it.token not in refused), None
            )
            if reader is None:
                return
            try:
                async with aclosing(self._feed(reader)) as changes:
                    async for _ in changes:
                        self.trouble = ""
                        self._tell()
                self.is_over = True
            except Failed as failed:
                if failed.code in REFUSED:
                    refused.add(reader.token)
                    continue
                self.trouble = str(failed)
                self.is_over = failed.code in FINAL
            except Exception:
                log.exception("a page of the dashboard failed")
                self.trouble = "the server failed at this; its log says why"
            self._tell()
            if not self.is_over:
                await asyncio.sleep(PAUSE_S)

    def close(self) -> None:
        self.is_over = self.is_closed = True
        self._tell()

    def _tell(self) -> None:
        for ring in self._viewers:
            ring.bell.set()


@dataclass(frozen=True, slots=True, eq=False)
class _Ring:
    """One viewer's place: a viewer of several hubs has one bell for all of them."""

    bell: asyncio.Event


class Hubs:
    """All pages that are looked at, by what they show. `run` keeps their feeds."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._hubs: dict[Hashable, Hub] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    @asynccontextmanager
    async def viewing(
        self, key: Hashable, make: Callable[[], Hub], reader: Reader, bell: asyncio.Event
    ) -> AsyncIterator[Hub]:
        """The hub of that page, with one more who looks. Raises Failed when too many different ones are looked at."""
        hub = self._hubs.get(key)
        if hub is None:
            if self._group is None:
                raise Failed(grpc.StatusCode.UNAVAILABLE, "this server begins or ends just now; try again in a moment")
            if len(self._hubs) >= MOST_HUBS:
                why = f"{MOST_HUBS} different pages are looked at, more are refused; close some"
                raise Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, why)
            hub = self._hubs[key] = make()
            self._group.create_task(self._keep(key, hub), name=f"dashboard {key}")
        async with hub.viewing(reader, bell):
            yield hub

    async def _keep(self, key: Hashable, hub: Hub) -> None:
        feeding = asyncio.create_task(hub.run())
        try:
            unseen_s = 0.0
            while unseen_s < self._linger_s:
                step_s = self._linger_s / 5
                await asyncio.wait([feeding], timeout=step_s)
                if feeding.done() and not hub.is_over:
                    return  # refused: who comes next begins anew
                if feeding.done():
                    await asyncio.sleep(step_s)
                unseen_s = 0.0 if hub.is_viewed else unseen_s + step_s
        finally:
            self._hubs.pop(key, None)
            hub.close()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
