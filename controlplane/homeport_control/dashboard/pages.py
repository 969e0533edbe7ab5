"""Pages: fleet, services, one service with its log, events. Each is drawn from its hub, and then follows it."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import grpc
from starlette.responses import HTMLResponse, Response

from homeport_control.dashboard.board import Board, Tail
from homeport_control.dashboard.feeds import MOST_EVENTS, MOST_LINES, ServicesFeed, events_feed, fleet_feed, log_feed
from homeport_control.dashboard.hub import Hub, Hubs
from homeport_control.dashboard.render import Renderer
from homeport_control.dashboard.streams import Source, Streams, mark
from homeport_control.dashboard.visits import Visit
from homeport_control.relay.inside import Failed, Inside

KINDS = ("run", "replica", "host", "gateway", "token", "user", "server")


class Pages:
    def __init__(self, inside: Inside, renderer: Renderer, hubs: Hubs, streams: Streams) -> None:
        self._inside = inside
        self._renderer = renderer
        self._hubs = hubs
        self._streams = streams

    async def fleet(self, visit: Visit) -> Response:
        return await self._page(visit, "fleet", [self._fleet()])

    async def services(self, visit: Visit) -> Response:
        return await self._page(visit, "services", [self._services()])

    async def service(self, visit: Visit) -> Response:
        name, is_access = _name(visit), _is_access(visit)
        sources = [self._services((name,)), self._log(name, is_access)]
        return await self._page(visit, "service", sources, name=name, is_access=is_access)

    async def events(self, visit: Visit) -> Response:
        kind = _kind(visit)
        return await self._page(visit, "events", [self._events(kind)], kind=kind, kinds=KINDS)

    async def live_fleet(self, visit: Visit) -> Response:
        return self._streams.stream(visit, [self._fleet()])

    async def live_services(self, visit: Visit) -> Response:
        return self._streams.stream(visit, [self._services()])

    async def live_service(self, visit: Visit) -> Response:
        name = _name(visit)
        return self._streams.stream(visit, [self._services((name,)), self._log(name, _is_access(visit))])

    async def live_events(self, visit: Visit) -> Response:
        return self._streams.stream(visit, [self._events(_kind(visit))])

    async def _page(self, visit: Visit, template: str, sources: Sequence[Source], **values: Any) -> Response:
        async with AsyncExitStack() as stack:
            bell = asyncio.Event()
            hubs = [
                await stack.enter_async_context(self._hubs.viewing(it.key, it.make, visit.reader, bell))
                for it in sources
            ]
            for hub in hubs:
                await hub.first(bell)
            if not hubs[0].page.is_filled:
                raise Failed(
                    grpc.StatusCode.NOT_FOUND if hubs[0].is_over else grpc.StatusCode.UNAVAILABLE, hubs[0].trouble
                )
            since = mark(hubs, [hub.page.version if hub.page.is_filled else -1 for hub in hubs])
            trouble = next((hub.trouble for hub in hubs if hub.trouble), "")
            pages = [hub.page for hub in hubs]
            text = self._renderer.page(template, pages=pages, since=since, trouble=trouble, **values, **visit.values)
        return HTMLResponse(text)

    def _fleet(self) -> Source:
        def make() -> Hub:
            page = Board("hosts", self._renderer.part)
            return Hub(page, partial(fleet_feed, self._inside, self._renderer.part, page))

        return Source("fleet", make)

    def _services(self, names: tuple[str, ...] = ()) -> Source:
        def make() -> Hub:
            page, draw = Board("services", self._renderer.part), self._renderer.part
            return Hub(page, lambda reader: ServicesFeed(self._inside, draw, page, reader, names).changes())

        return Source(("services", *names), make)

    def _log(self, name: str, is_access: bool) -> Source:
        def make() -> Hub:
            page = Tail("lines", MOST_LINES)
            return Hub(page, partial(log_feed, self._inside, self._renderer.part, page, name, is_access))

        return Source(("log", name, is_access), make)

    def _events(self, kind: str) -> Source:
        def make() -> Hub:
            page = Tail("events", MOST_EVENTS, at_begin=True)
            return Hub(page, partial(events_feed, self._inside, self._renderer.part, page, kind))

        return Source(("events", kind), make)


def _name(visit: Visit) -> str:
    return str(visit.request.path_params["name"])


def _is_access(visit: Visit) -> bool:
    return visit.request.query_params.get("show") == "requests"


def _kind(visit: Visit) -> str:
    kind = visit.request.query_params.get("kind", "")
    return kind if kind in KINDS else ""
