"""The gateways' side of the server, joined: what their Envoys are told, what they say, who waits at their doors.

Covers the callbacks between rooms that do not know each other (xds, load, hold, loops). Decides nothing.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import grpc

from homeport_control.domain.gateway import LoadReport
from homeport_control.domain.metrics import AnswerReport, Answers
from homeport_control.hold.server import HoldServer
from homeport_control.hold.waiting import Waiting
from homeport_control.load.answers import RecentAnswers
from homeport_control.load.lrs import LoadReports
from homeport_control.load.rates import Rates
from homeport_control.load.services import ServiceLoads
from homeport_control.load.stats import AnswerStats
from homeport_control.load.totals import Totals
from homeport_control.loops.autoscale import AutoscaleLoop
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.loops.hold import HoldLoop
from homeport_control.loops.loop import Loop
from homeport_control.store import gateways
from homeport_control.store.connect import Database
from homeport_control.xds.server import GatewayXds


class DataPlane:
    """`register` on the server that carries xDS, `start` before it serves, and run the `loops`."""

    def __init__(self, database: Database, open_sealed: Callable[[bytes], str]) -> None:
        self._database = database
        self.gateway = GatewayLoop(database, open_sealed)
        self.rates, self._answers = Rates(time.time), RecentAnswers(time.time)
        self.totals = Totals(time.time)
        self._loads = ServiceLoads(time.time, self.gateway.publishers)
        self.autoscale = AutoscaleLoop(database, self._loads.samples)
        self._waiting = Waiting(self._on_held)
        authorize = self.gateway.authorize
        self._xds = GatewayXds(authorize=authorize, on_acked=self._on_acked, on_nacked=self.gateway.on_nacked)
        self.gateway.publish, self.gateway.forget = self._xds.publish, self._forget
        self.gateway.prepare = self._xds.prepare
        self.gateway.try_again = self._xds.try_again
        hold = HoldLoop(database, lambda: self._waiting.held, self._waiting.tell)
        self.loops = [
            Loop("autoscale", database.changes, AutoscaleLoop.topics, self.autoscale.turn),
            Loop("gateway", database.changes, GatewayLoop.topics, self.gateway.turn),
            Loop("hold", database.changes, HoldLoop.topics, hold.turn),
        ]

    def register(self, link: grpc.aio.Server) -> None:
        authorize = self.gateway.authorize
        self._xds.register(link)
        LoadReports(authorize=authorize, on_load=self._on_load).register(link)
        AnswerStats(authorize=authorize, on_answers=self._on_answers).register(link)
        HoldServer(self._waiting, authorize=authorize, publishes=self._publishes).register(link)

    async def start(self) -> None:
        """What an Envoy that reconnects gets is complete from the first moment, and its silence until then is no idleness."""
        await self.gateway.turn(time.time())
        async with self._database.read() as connection:
            for known in await gateways.list_all(connection):
                self._loads.awaited(known.name)

    def traffic(self, service: str) -> tuple[int, Answers | None]:
        """Its requests: held now, and how the others were answered over the last seconds."""
        return self._loads.held(service), self._answers.of(service)

    def load(self, service: str) -> tuple[int, int | None]:
        """Its requests: held now; and in flight, None: no gateway says."""
        rates = self.rates.of(service)
        return self._loads.held(service), None if rates is None else sum(it.in_flight for it in rates.values())

    def _on_answers(self, report: AnswerReport) -> None:
        self._answers.take(report)
        self.totals.take(report)

    def _on_held(self, service: str, held: int) -> None:
        self._loads.on_held(service, held)
        if held == 1:  # the first one, or nearly the last: the loops look at all of them
            self.autoscale.poke()

    def _on_acked(self, name: str, version: int) -> None:
        self.gateway.on_acked(name, version)
        self._waiting.rotation(name, self.gateway.in_rotation(name))

    def _on_load(self, report: LoadReport) -> None:
        self.rates.take(report)
        # A gateway's numbers move the services that it was given, and no others.
        mine = {it: self._publishes(report.gateway, it) for it in {load.service for load in report.endpoints}}
        self._loads.take(replace(report, endpoints=tuple(it for it in report.endpoints if mine[it.service])))
        self.gateway.on_load(report)

    def _publishes(self, gateway: str, service: str) -> bool:
        return gateway in self.gateway.publishers(service)

    def _forget(self, name: str) -> None:
        self._xds.forget(name)
        self._loads.forgotten(name)
        self._answers.forgotten(name)
        self.totals.forgotten(name)
