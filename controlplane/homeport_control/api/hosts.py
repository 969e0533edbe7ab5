"""Hosts and how they are: `fleet list`, `fleet get`, `top`. Facts and findings of the database, readings of the sessions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.fleets import pending
from homeport_control.api.kept_hosts import KeptHosts
from homeport_control.api.readings import Readings
from homeport_control.decide.standing import next_try, with_standby
from homeport_control.domain.errors import NotFound
from homeport_control.domain.hosts import Connection, Host
from homeport_control.store import fleets, gateways, hosts, replicas, reservations
from homeport_control.store.connect import Database
from homeport_control.store.turns import Turns

PICTURE_S = 1.0  # between two answers of a watch
KEEP_ALIVE_S = 15.0


class Hosts:
    def __init__(self, database: Database, readings: Readings, picture_s: float = PICTURE_S) -> None:
        self._database = database
        self._readings = readings
        self._picture_s = picture_s
        self._kept = KeptHosts()

    async def list(self, request: api_pb2.ListHostsRequest) -> api_pb2.ListHostsResponse:
        """Raises NotFound for a name that no host has."""
        names = list(request.names)
        async with self._database.read() as connection:
            joined = await (hosts.named(connection, names) if names else hosts.list_all(connection))
            active, count = await replicas.active_and_count(connection)
            held = await reservations.by_host(connection)
            registered = await fleets.registered(connection)
            gates = await gateways.list_all(connection)
        known = with_standby(joined, registered)
        shown = [host for host in _named(known, names) if not request.fleet or host.fleet == request.fleet]
        standbys = {it.host_id: it.standby for it in registered if it.standby is not None}
        now_s = time.time()

        def tell(host: Host, message: api_pb2.Host) -> None:
            standby = standbys.get(host.id)
            phase = standby.phase if standby is not None else None
            kept = self._kept.message(host, count.get(host.id, 0), held.get(host.id, ()), active, phase, gates)
            message.CopyFrom(kept)
            if standby is not None and host.connection is Connection.RELEASED:
                message.reason += next_try(standby, now_s)
            if request.telemetry and (reading := self._readings.of(host.id)):
                message.gpu_readings.extend(
                    reading.gpus[gpu.uuid] for gpu in host.facts.gpus if gpu.uuid in reading.gpus
                )
                if reading.host is not None:
                    message.reading.CopyFrom(reading.host)

        # Not in a thread: that would wait for this one, and make it wait, at each change between them.
        response, turns = api_pb2.ListHostsResponse(), Turns()
        for host in shown:
            tell(host, response.hosts.add())
            await turns.give()
        if not names:
            of_fleet = [it for it in registered if request.fleet in ("", it.fleet)]
            response.hosts.extend(pending(of_fleet, known, now_s))
        return response

    async def watch(self, request: api_pb2.ListHostsRequest) -> AsyncGenerator[api_pb2.ListHostsResponse, None]:
        """At once, then when something that a reader could see is another, once a second at most. Raises NotFound."""
        with self._database.changes.subscribe("hosts", "replicas", "health") as changes, self._readings.watch() as news:
            sent: api_pb2.ListHostsResponse | None = None
            while True:
                began_s = time.monotonic()
                news.clear()
                current = await self.list(request)
                if current != sent:
                    sent = current
                    yield current
                await asyncio.sleep(max(0.0, began_s + self._picture_s - time.monotonic()))
                waits = [asyncio.ensure_future(changes.wait(KEEP_ALIVE_S))]
                if request.telemetry:
                    waits.append(asyncio.ensure_future(news.wait()))
                try:
                    await asyncio.wait(waits, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()


def _named(known: Iterable[Host], names: Iterable[str]) -> list[Host]:
    wanted, known = set(names), list(known)
    if unknown := wanted - {name for host in known for name in (host.name, host.id)}:
        raise NotFound(f"no host {sorted(unknown)[0]}; `homeport fleet list` shows all")
    return [host for host in known if not wanted or wanted & {host.name, host.id}]
