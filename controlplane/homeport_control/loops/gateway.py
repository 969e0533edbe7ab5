"""The gateway: what is ready becomes a snapshot; what Envoy acknowledged is in rotation; what is idle is drained.

A replica is *in rotation* only when a version that has its endpoint was acknowledged. It is *drained* only when a version
without it (or with it draining) was acknowledged and the second load report after that counts nothing in flight at its
address: the first one may have been counted just before the acknowledgement.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from homeport_control.decide.routes import ServiceInput, problems, snapshot
from homeport_control.domain.gateway import (
    Affinity,
    Endpoint,
    Gateway,
    GatewaySnapshot,
    LoadReport,
    PublishedModel,
    RateRule,
    Traffic,
)
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.loops.loop import Turn
from homeport_control.spec.routing import DEFAULT_COOKIE, DEFAULT_PREFIX_BYTES
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import events, hosts, replicas, runs, tokens
from homeport_control.store.connect import Database, Write

REPORTS_AFTER_ACK = 2
REMEMBERED_VERSIONS = 100  # published while no Envoy acknowledges; it will acknowledge the newest


@dataclass(slots=True)
class Acknowledged:
    """What the gateway's Envoy is known to serve, and what was counted since."""

    version: int = 0
    endpoints: dict[str, Endpoint] | None = None
    reports: int = 0  # load reports since it was acknowledged
    busy: frozenset[tuple[str, int]] = frozenset()  # addresses with requests in flight, by the last of them


class GatewayLoop:
    """The `on_…` methods and `authorize` are callbacks of xds and load; `publish` is set by app before the first turn."""

    topics = ("runs", "replicas", "tokens", "hosts", "gateway")

    def __init__(self, database: Database, name: str, address: str, port: int, domain: str) -> None:
        self.publish: Callable[[GatewaySnapshot], int]  # hands a snapshot to xds, answers with its version
        self.name, self.domain, self.port = name, domain, port
        self._database = database
        self._address = address
        self._host_id = ""
        self._published: dict[int, GatewaySnapshot] = {}
        self._acked = Acknowledged()
        self._nack = ""
        self._told_nack = ""  # what the last event about it said
        self._draining = False

    def authorize(self, host_id: str, _node_id: str) -> str | None:
        """The gateway that this host's Envoy may be; None: it has no such role."""
        return self.name if host_id and host_id == self._host_id else None

    def on_acked(self, _gateway: str, version: int) -> None:
        acked = self._published.get(version)
        if acked is None:
            return
        endpoints = {endpoint.replica_id: endpoint for service in acked.services for endpoint in service.endpoints}
        self._acked = Acknowledged(version, endpoints)
        self._published = {kept: value for kept, value in self._published.items() if kept >= version}
        self._nack = ""
        self._database.changes.publish({"gateway"})

    def on_nacked(self, _gateway: str, _version: int, message: str) -> None:
        self._nack = message
        self._database.changes.publish({"gateway"})

    def on_load(self, report: LoadReport) -> None:
        self._acked.reports += 1
        self._acked.busy = frozenset((load.address, load.port) for load in report.endpoints if load.in_flight)
        if self._draining:
            self._database.changes.publish({"gateway"})

    @property
    def refused(self) -> str:
        """Why Envoy refused the last version; empty when it did not."""
        return self._nack

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            host = next((h for h in await hosts.list_all(connection) if h.gateway == self.name), None)
            active = await runs.list_unsettled(connection)
            present = await replicas.of_runs(connection, [run.id for run in active])
            grants, next_expiry_s = await tokens.grants(connection, now_s)
        self._host_id = host.id if host else ""
        if host is None:
            return Turn(f"gateway {self.name} has no host yet")
        services = [_input(run, tuple(present.get(run.id, ()))) for run in active if run.ended_at_s is None]
        gateway = Gateway(self.name, host.id, self._address, self.port, self.domain)
        candidate = snapshot(gateway, services, grants)
        wrong = problems(candidate)
        if wrong:
            return Turn(f"the last good configuration stays: {'; '.join(wrong)}")
        version = self.publish(candidate)
        self._published[version] = candidate
        if len(self._published) > REMEMBERED_VERSIONS:
            del self._published[min(self._published)]
        everyone = [replica for found in present.values() for replica in found]
        self._draining = any(replica.wanted is Wanted.DRAIN for replica in everyone)
        await self._mark(host, everyone)
        await self._tell(host)
        endpoints = sum(len(service.endpoints) for service in candidate.services)
        sentence = f"gateway {self.name} serves {len(candidate.services)} services with {endpoints} endpoints"
        if self._nack:
            sentence = f"gateway {self.name} refused version {version}: {self._nack}"
        elif self._acked.version != version:
            sentence += f"; version {version} is not acknowledged yet"
        return Turn(sentence, next_expiry_s)

    async def _mark(self, host: Host, everyone: list[Replica]) -> None:
        rotate = [replica for replica in everyone if self._is_in_rotation(replica) != replica.in_rotation]
        drained = [replica for replica in everyone if self._is_drained(host, replica)]
        if not rotate and not drained:
            return
        async with self._database.write() as write:
            for replica in rotate:
                await replicas.update(write, replica.id, in_rotation=not replica.in_rotation)
                if not replica.in_rotation:
                    await self._first_published(write, replica)
            for replica in drained:
                await replicas.update(write, replica.id, drained_at_s=time.time())

    async def _tell(self, host: Host) -> None:
        """An event when Envoy refuses what it is given, and when it takes it again."""
        nack = self._nack
        if nack == self._told_nack:
            return
        what = (
            f"refused its configuration, the last good one stays: {nack}" if nack else "takes its configuration again"
        )
        async with self._database.write() as write:
            sentence = f"gateway {self.name} on {host.name} {what}"
            events.record(write, kind="gateway", object_id=host.id, name=self.name, sentence=sentence)
        self._told_nack = nack

    @staticmethod
    async def _first_published(write: Write, replica: Replica) -> None:
        run = await runs.get(write.connection, replica.run_id)
        if not run.ever_published:
            await runs.update(write, run.id, ever_published=True, running_since_s=time.time())

    def _is_in_rotation(self, replica: Replica) -> bool:
        if replica.wanted is not Wanted.RUN or replica.phase is not Phase.READY:
            return False
        if self._acked.endpoints is None:
            return replica.in_rotation  # this server has not heard the gateway yet: what stood before stands
        endpoint = self._acked.endpoints.get(replica.id)
        return endpoint is not None and not endpoint.draining and endpoint.port == replica.host_port

    def _is_drained(self, host: Host, replica: Replica) -> bool:
        if replica.wanted is not Wanted.DRAIN or replica.drained_at_s is not None:
            return False
        if not host.gateway_ready:
            return True  # no Envoy runs, so no request does
        if self._acked.endpoints is None or self._acked.reports < REPORTS_AFTER_ACK:
            return False
        endpoint = self._acked.endpoints.get(replica.id)
        if endpoint is not None and not endpoint.draining:
            return False
        return endpoint is None or (endpoint.address, endpoint.port) not in self._acked.busy


def _input(run: Run, present: tuple[Replica, ...]) -> ServiceInput:
    spec = spec_from_json((run.current or run.newest).spec_json)  # what was given up says nothing about what serves
    model = None
    if spec.model is not None and spec.model.format == "openai":
        first, *others = spec.model.names
        created_s = int(run.submitted_at_s)
        model = PublishedModel(first, spec.model.prefix, created_s, tuple(others), weight=spec.model.weight)
    return ServiceInput(run, spec.auth, present, model, spec.forward_token, _traffic(spec))


def _traffic(spec: ServiceSpec) -> Traffic:
    balancing, affinity = spec.load_balancing, None
    if balancing.affinity != "none":
        name = balancing.name or (DEFAULT_COOKIE if balancing.affinity == "cookie" else "")
        length = (balancing.prefix_bytes or DEFAULT_PREFIX_BYTES) if balancing.affinity == "prefix" else 0
        affinity = Affinity(balancing.affinity, name, length)
    rules = tuple(RateRule(it.prefix, it.rps, it.burst, it.key, it.header or "") for it in spec.rate_limits)
    return Traffic(affinity, rules, spec.timeouts.response_s, spec.timeouts.idle_s, spec.protocol == "h2c")
