"""What pages are filled from: streams of the API, read for one of the viewers.

Each feed yields after a change that it has put on its page, and raises Failed when its stream does. Covers fleet, services,
events and logs; how they are shared: hub.py.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from homeport_protos.api.v1 import api_pb2

from homeport_control.dashboard import fleet_cells, service_cells
from homeport_control.dashboard.board import Board, Item, Tail
from homeport_control.dashboard.lines import event_row, log_line
from homeport_control.relay.inside import Failed, Inside, Reader

REST_S = 0.5  # between two drawings of services: their numbers come one by one
MEASURE_AGAIN_S = 5.0
MOST_MEASURED = 64  # services whose numbers are read at a time: each asks its hosts
LOG_TAIL, MOST_LINES = 200, 500
MOST_EVENTS = 200
Part = Callable[[str, str, object], str]  # kind, key, cell -> HTML


async def fleet_feed(inside: Inside, draw: Part, page: Board, reader: Reader) -> AsyncGenerator[None, None]:
    known: dict[str, tuple[api_pb2.Host, fleet_cells.HostCells]] = {}
    request = api_pb2.ListHostsRequest(telemetry=True)
    async with aclosing(inside.stream("WatchHosts", request, api_pb2.ListHostsResponse, reader)) as answers:
        async for answer in answers:
            made: dict[str, tuple[api_pb2.Host, fleet_cells.HostCells]] = {}
            for host in fleet_cells.in_order(answer.hosts):
                name = host.id or host.address
                before = known.get(name)
                made[name] = before if before and before[0] == host else (host, fleet_cells.host_cells(host, before))
            known = made
            cells = [it for _, it in made.values()]
            if put_fleet(draw, page, fleet_cells.summary(answer.hosts), cells):
                yield


def put_fleet(draw: Part, page: Board, summary: fleet_cells.Summary, hosts: list[fleet_cells.HostCells]) -> bool:
    items = [Item("top-summary", "summary", summary)]
    for host in hosts:
        items.append(Item(f"{host.key}-h", "host_head", host.head))
        items += (Item(f"{host.key}-{gpu.index}", "gpu", gpu) for gpu in host.gpus)
        items.append(Item(f"{host.key}-n", "host_notes", host.notes))
    shape = tuple((host.key, len(host.gpus)) for host in hosts)

    def compose(html: Callable[[str], str]) -> str:
        cards = [
            draw("host", key, (html(f"{key}-h"), [html(f"{key}-{index}") for index in range(count)], html(f"{key}-n")))
            for key, count in shape
        ]
        return "".join(cards) or draw("no_hosts", "none", None)

    return page.put(shape, items, compose)


class ServicesFeed:
    """Runs as they change, and the numbers of each while it is there."""

    def __init__(self, inside: Inside, draw: Part, page: Board, reader: Reader, names: tuple[str, ...] = ()) -> None:
        """`names`: only these; empty: all."""
        self._inside, self._draw, self._page, self._reader, self._names = inside, draw, page, reader, names
        self._runs: list[api_pb2.Run] = []
        self._numbers: dict[str, api_pb2.MetricsResponse] = {}
        self._measuring: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._is_known = False

    async def changes(self) -> AsyncGenerator[None, None]:
        watching = asyncio.create_task(self._watch())
        watching.add_done_callback(lambda _task: self._changed.set())
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if watching.done():
                    watching.result()
                    return
                if self._is_known:
                    self._measure()
                    if self._put():
                        yield
                await asyncio.sleep(REST_S)
        finally:
            tasks = [watching, *self._measuring.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        request = api_pb2.ListRunsRequest(all=bool(self._names), names=self._names)
        async with aclosing(
            self._inside.stream("WatchRuns", request, api_pb2.ListRunsResponse, self._reader)
        ) as answers:
            async for answer in answers:
                self._runs, self._is_known = service_cells.in_order(answer.runs), True
                self._changed.set()

    def _measure(self) -> None:
        wanted = [it.name for it in self._runs if it.state not in service_cells.ENDED][:MOST_MEASURED]
        for name in self._measuring.keys() - set(wanted):
            self._measuring.pop(name).cancel()
            self._numbers.pop(name, None)
        for name in wanted:
            if name not in self._measuring:
                self._measuring[name] = asyncio.create_task(self._numbers_of(name))

    async def _numbers_of(self, name: str) -> None:
        request = api_pb2.MetricsRequest(run_name=name, follow=True)
        while True:
            with suppress(Failed):  # it ends, or its leader: the watch says so
                async with aclosing(
                    self._inside.stream("Metrics", request, api_pb2.MetricsResponse, self._reader)
                ) as answers:
                    async for answer in answers:
                        self._numbers[name] = answer
                        self._changed.set()
            self._numbers.pop(name, None)
            self._changed.set()
            await asyncio.sleep(MEASURE_AGAIN_S)

    def _put(self) -> bool:
        cells = [service_cells.service_cells(run, self._numbers.get(run.name)) for run in self._runs]
        return put_services(self._draw, self._page, cells)


def put_services(draw: Part, page: Board, cells: list[service_cells.ServiceCells]) -> bool:
    items = []
    for it in cells:
        items.append(Item(f"{it.key}-h", "service_head", it.head))
        items.append(Item(f"{it.key}-n", "numbers", it.numbers))
        items.append(Item(f"{it.key}-b", "service_body", it.body))
    shape = tuple(it.key for it in cells)

    def compose(html: Callable[[str], str]) -> str:
        cards = [draw("service", key, tuple(html(f"{key}-{part}") for part in "hnb")) for key in shape]
        return "".join(cards) or draw("no_services", "none", None)

    return page.put(shape, items, compose)


async def events_feed(inside: Inside, draw: Part, page: Tail, kind: str, reader: Reader) -> AsyncGenerator[None, None]:
    page.reset()
    request = api_pb2.EventsRequest(follow=True, limit=MOST_EVENTS, kind=kind)
    async with aclosing(inside.stream("Events", request, api_pb2.EventsResponse, reader)) as answers:
        async for answer in answers:
            page.fill()
            if answer.events:
                page.add([draw("event", f"e{it.id}", event_row(it)) for it in answer.events])
            yield


async def log_feed(
    inside: Inside, draw: Part, page: Tail, run_name: str, is_access: bool, reader: Reader
) -> AsyncGenerator[None, None]:
    page.reset()
    request = api_pb2.LogsRequest(run_name=run_name, follow=True, tail=LOG_TAIL, access=is_access)
    async with aclosing(inside.stream("Logs", request, api_pb2.LogsResponse, reader)) as answers:
        page.fill()
        yield
        async for answer in answers:
            pieces = [draw("line", "", log_line(it, is_access=is_access)) for it in answer.entries]
            if answer.note:
                pieces.append(draw("note", "", answer.note))
            page.add(pieces)
            yield
