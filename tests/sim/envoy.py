"""A gateway's Envoy of a simulated world: takes configuration over delta ADS as Envoy does, acknowledges or refuses it, sends
requests to the endpoints that it holds, and reports its load each second.

Covers what the control plane can see, and what a caller would: which endpoints of which services take new requests, and what is
in flight. Refuses (NACK) when it is told to. It survives its agent; a reboot ends it, and it comes back holding nothing.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from grpc.aio import AioRpcError
from homeport_control.xds import subscription as xds

from sim.clock import Process
from sim.network import Network, Peer, Stream

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
LRS = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
AGAIN_S = (0.2, 1.5)  # Envoy's back-off for its streams
SETTLES_S = 1.0  # the other kinds of a version come within this after the first
TAKES_REQUESTS = health_check_pb2.HEALTHY


@dataclass(frozen=True)
class Held:
    """An endpoint as this Envoy holds it."""

    service: str
    replica_id: str
    address: str
    port: int
    is_draining: bool


@dataclass
class Envoy:
    name: str  # of its gateway
    host_id: str
    machine: str
    network: Network
    rng: random.Random
    on_change: Callable[[str], None] = lambda text: None
    serves: Callable[[Held], bool] = lambda held: True  # whether a request there is answered now
    owner: Process = field(default_factory=lambda: Process("envoy"))
    resources: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)  # type -> name -> version, body
    endpoints: dict[str, tuple[Held, ...]] = field(default_factory=dict)  # by service
    requests: list[tuple[float, Held]] = field(default_factory=list)  # end, where
    refuses: int = 0  # so many of the next responses
    refused: str = ""  # the version, until a part of another one is taken
    settles_at_s: float = 0.0  # what it took of the version that it refused is given back by then
    traffic: float = 0.5  # requests a second and endpoint
    peer_pem: bytes = b""

    def __post_init__(self) -> None:
        self.owner.name = f"envoy {self.machine}/{self.name}"

    def in_rotation(self, service: str) -> list[Held]:
        """Endpoints that new requests for the service are sent to: its route is there and it does not drain."""
        routes = self.resources.get(xds.RDS, {})
        if not routes:
            return []
        return [it for it in self.endpoints.get(service, ()) if not it.is_draining]

    def in_flight(self) -> dict[Held, int]:
        found: dict[Held, int] = {}
        for _, held in self.requests:
            found[held] = found.get(held, 0) + 1
        return found

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._for_ever(self._ads))
            group.create_task(self._for_ever(self._lrs))
            group.create_task(self._call())

    async def _for_ever(self, stream: Callable[[], Any]) -> None:
        while True:
            with suppress(AioRpcError):
                await stream()
            await asyncio.sleep(self.rng.uniform(*AGAIN_S))

    def _stream(self, method: str, answer: Any) -> Stream:
        peer = Peer(self.host_id, self.peer_pem)
        return Stream(self.network, self.machine, peer, method, self.owner, deserialize=answer.FromString)

    # --- configuration ---

    async def _ads(self) -> None:
        out: asyncio.Queue[Any] = asyncio.Queue()
        asked: set[str] = set()
        stream = self._stream(ADS, discovery_pb2.DeltaDiscoveryResponse)
        node_said = False

        def ask(type_url: str, subscribe: tuple[str, ...] = (), unsubscribe: tuple[str, ...] = ()) -> None:
            nonlocal node_said
            message = discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url, resource_names_subscribe=subscribe, resource_names_unsubscribe=unsubscribe
            )
            if not node_said:
                node_said = True
                message.node.id = f"{self.host_id}/{self.name}"
            if type_url not in asked:
                asked.add(type_url)
                held = self.resources.get(type_url, {})
                message.initial_resource_versions.update({name: version for name, (version, _) in held.items()})
            out.put_nowait(message)

        async def outgoing() -> AsyncIterator[Any]:
            while True:
                yield await out.get()

        ask(xds.CDS)
        if clusters := tuple(sorted(self.resources.get(xds.CDS, {}))):
            ask(xds.EDS, clusters)
        ask(xds.LDS)
        if self.resources.get(xds.LDS):
            self._ask_for_listeners(ask)
        stream.open(outgoing())
        try:
            async for response in stream:
                await asyncio.sleep(self.rng.uniform(0.0005, 0.02))  # it works on it
                self._take(response, ask, out, asked)
        finally:
            stream.close()

    def _ask_for_listeners(self, ask: Callable[..., None]) -> None:
        ask(xds.RDS, tuple(sorted(self.resources.get(xds.RDS, {}))) or ("homeport",))
        ask(xds.ECDS, tuple(sorted(self.resources.get(xds.ECDS, {}))) or ("homeport.token",))

    def _take(self, response: Any, ask: Callable[..., None], out: "asyncio.Queue[Any]", asked: set[str]) -> None:
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if self.refuses > 0 and response.resources:
            self.refuses -= 1
            self.refused, self.settles_at_s = response.system_version_info, float("inf")
            answer.error_detail.code, answer.error_detail.message = 13, "refused by the simulation"
            self.on_change(f"refuses {response.type_url.rsplit('.', 1)[-1]} of version {response.system_version_info}")
            out.put_nowait(answer)
            return
        if self.refused and response.system_version_info != self.refused:
            self.refused, self.settles_at_s = "", asyncio.get_running_loop().time() + SETTLES_S
        held = self.resources.setdefault(response.type_url, {})
        new = []
        for resource in response.resources:
            if resource.name not in held:
                new.append(resource.name)
            held[resource.name] = (resource.version, resource.resource.value)
            if response.type_url == xds.EDS:
                self.endpoints[resource.name] = _endpoints(resource.name, resource.resource.value)
                self.on_change(f"holds {resource.name}: {_text(self.endpoints[resource.name])}")
        for name in response.removed_resources:
            held.pop(name, None)
            if response.type_url in (xds.EDS, xds.CDS):
                self.endpoints.pop(name, None)
        out.put_nowait(answer)
        if response.type_url == xds.CDS:
            gone = tuple(name for name in response.removed_resources if name in self.resources.get(xds.EDS, {}))
            for name in gone:
                self.resources[xds.EDS].pop(name, None)
            if new or gone:
                ask(xds.EDS, tuple(new), gone)
        elif response.type_url == xds.LDS and xds.RDS not in asked:
            self._ask_for_listeners(ask)

    # --- requests ---

    async def _call(self) -> None:
        """Callers, and what they would see."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.3, 0.8))
            now_s = asyncio.get_running_loop().time()
            self.requests = [it for it in self.requests if it[0] > now_s]
            for service in sorted(self.endpoints):
                for held in self.in_rotation(service):
                    if self.rng.random() < self.traffic and self.serves(held):
                        lasts_s = self.rng.choice((0.05, 0.3, 2.0, 6.0))
                        self.requests.append((now_s + lasts_s, held))

    async def _lrs(self) -> None:
        stream = self._stream(LRS, lrs_pb2.LoadStatsResponse)
        asked = asyncio.Event()

        async def outgoing() -> AsyncIterator[Any]:
            first = lrs_pb2.LoadStatsRequest()
            first.node.id = f"{self.host_id}/{self.name}"
            yield first
            await asked.wait()
            while True:
                await asyncio.sleep(1.0)
                yield self._report()

        stream.open(outgoing())
        try:
            async for _ in stream:
                asked.set()
        finally:
            stream.close()

    def _report(self) -> Any:
        now_s = asyncio.get_running_loop().time()
        self.requests = [it for it in self.requests if it[0] > now_s]
        message = lrs_pb2.LoadStatsRequest()
        by_service: dict[str, Any] = {}
        there = {it for found in self.endpoints.values() for it in found}
        places = {(it.service, it.address, it.port) for it in there}
        for held, count in self.in_flight().items():
            if (held.service, held.address, held.port) not in places:
                continue  # one that was removed is not reported
            if held.service not in by_service:
                cluster = message.cluster_stats.add(cluster_name=held.service)
                cluster.load_report_interval.seconds = 1
                by_service[held.service] = cluster.upstream_locality_stats.add()
            stats = by_service[held.service].upstream_endpoint_stats.add(total_requests_in_progress=count)
            stats.address.socket_address.address = held.address
            stats.address.socket_address.port_value = held.port
        return message


def _endpoints(service: str, body: bytes) -> tuple[Held, ...]:
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(body)
    found = []
    for group in assignment.endpoints:
        for it in group.lb_endpoints:
            place = it.endpoint.address.socket_address
            metadata = it.metadata.filter_metadata
            ids = [fields["replica"] for key in sorted(metadata) if "replica" in (fields := metadata[key])]
            found.append(
                Held(
                    service, ids[0] if ids else "", place.address, place.port_value, it.health_status != TAKES_REQUESTS
                )
            )
    return tuple(found)


def _text(endpoints: tuple[Held, ...]) -> str:
    return ", ".join(f"{it.replica_id[:6]}{' draining' if it.is_draining else ''}" for it in endpoints) or "nothing"
