"""The ADS stream that each gateway's Envoy holds, and the way to publish to it.

Covers streams, who may open one, the last good world of each gateway, and waiting for an ACK. Does not cover what may
be sent when (subscription) nor what it says (resources).

    published ──ACK of everything──> good
        └─────────NACK────────────> refused: Envoy is led back to the last good world; the next publish, or `try_again`

Until the first publish after a start nothing is sent: an Envoy that comes back keeps what it has. A second stream of a
gateway replaces the first, which is a dead one that TCP has not noticed yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import grpc

from homeport_control.domain.gateway import GatewaySnapshot
from homeport_control.trust.gateway_calls import Authorize, Streams, gateway_of
from homeport_control.xds import convert
from homeport_control.xds.resources import world
from homeport_control.xds.subscription import Subscription, World

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

# For the gRPC server that this is registered with: Envoy pings each 10 s, which gRPC takes for abuse by default.
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 16 << 20),
    # Held requests come all at once when this server was away; gRPC cancels some beyond a thousand by default.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
)


def _nothing(*_: object) -> None:
    pass


@dataclass(slots=True)
class _Stream:
    subscription: Subscription
    wake: asyncio.Event
    replaced: bool = False

    def end(self) -> None:
        self.replaced = True
        self.wake.set()


KEEPER = "/keeper"  # at the end of a node's id: see _keep


@dataclass(slots=True)
class _Gateway:
    snapshot: GatewaySnapshot | None = None
    latest: World | None = None
    good: World | None = None
    refused: int = 0  # version that was NACKed
    acked: int = 0
    stream: _Stream | None = None
    keeper: _Stream | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def target(self) -> World | None:
        if self.latest is not None and self.latest.version == self.refused and self.good is not None:
            return self.good
        return self.latest


class GatewayXds:
    """Publishes snapshots to gateways. Callbacks are called in the event loop and must return at once."""

    def __init__(
        self,
        *,
        authorize: Authorize,
        on_acked: Callable[[str, int], None] = _nothing,
        on_nacked: Callable[[str, int, str], None] = _nothing,
        on_connected: Callable[[str], None] = _nothing,
        on_disconnected: Callable[[str], None] = _nothing,
    ) -> None:
        self._authorize = authorize
        self._on_acked = on_acked
        self._on_nacked = on_nacked
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._gateways: dict[str, _Gateway] = {}
        self._version = 0
        self._streams = Streams(per_s=200.0, burst=5_000.0)  # Envoy acknowledges each resource once

    def register(self, server: grpc.aio.Server) -> None:
        """Add the ADS service. The server must ask for client certificates, and carry SERVER_OPTIONS."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._delta, request_deserializer=convert.parse_request, response_serializer=convert.response_bytes
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": handler}),)
        )

    def publish(self, snapshot: GatewaySnapshot) -> int:
        """Make this what the gateway serves; the version to wait for. The same version when nothing changed.

        The snapshot must be consistent (decide.routes.problems). Versions grow within one process only.
        """
        gateway = self._gateway(snapshot.gateway)
        if gateway.latest is not None and gateway.snapshot == snapshot:
            return gateway.latest.version
        self._version += 1
        gateway.snapshot, gateway.latest = snapshot, world(snapshot, self._version)
        self._aim(gateway)
        return self._version

    @staticmethod
    def prepare(snapshot: GatewaySnapshot) -> None:
        """Make its resources, which are kept: `publish` finds them then, in a moment. From any thread."""
        world(snapshot, 0)

    def try_again(self, name: str) -> None:
        """Send what was refused once more, also where the last good world was refused too and nothing is sent any more."""
        gateway = self._gateway(name)
        gateway.refused = 0
        self._aim(gateway)

    def forget(self, name: str) -> None:
        """The gateway is no more, or is another Envoy now: end its stream, and begin anew with what is published next."""
        gateway = self._gateways.pop(name, None)
        for stream in (gateway.stream, gateway.keeper) if gateway is not None else ():
            if stream is not None:
                stream.end()

    def acked(self, gateway: str) -> int:
        """The newest version that this gateway has acknowledged completely; 0 before the first."""
        return self._gateway(gateway).acked

    def is_connected(self, gateway: str) -> bool:
        return self._gateway(gateway).stream is not None

    async def wait_acked(self, gateway: str, version: int, timeout_s: float) -> bool:
        """Whether the gateway acknowledged this version or a newer one in time; False at once when it refused it."""
        state = self._gateway(gateway)
        try:
            async with asyncio.timeout(timeout_s), state.changed:
                await state.changed.wait_for(lambda: state.acked >= version or state.refused == version)
        except TimeoutError:
            return False
        return state.acked >= version

    def _gateway(self, name: str) -> _Gateway:
        return self._gateways.setdefault(name, _Gateway())

    def _aim(self, gateway: _Gateway) -> None:
        if gateway.stream is not None and gateway.target is not None:
            gateway.stream.subscription.set_world(gateway.target)
            gateway.stream.wake.set()

    async def _delta(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await self._streams.run(requests, context, self._begun)

    async def _begun(self, first: Any, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        node = convert.node_id(first)
        name = await gateway_of(context, node.removesuffix(KEEPER), self._authorize)
        gateway = self._gateway(name)
        if node.endswith(KEEPER):
            await self._keep(gateway, first, requests, context)
            return
        if gateway.stream is not None:
            gateway.stream.end()
        stream = gateway.stream = _Stream(Subscription(), asyncio.Event())
        self._aim(gateway)
        self._on_connected(name)
        try:
            self._take(name, gateway, stream, first)

            async def note() -> None:
                await self._note(name, gateway, stream)

            await _both(_send(stream, context, note), self._read(name, gateway, stream, requests))
        finally:
            if gateway.stream is stream:
                gateway.stream = None
                self._on_disconnected(name)

    async def _keep(
        self, gateway: _Gateway, first: Any, requests: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Tell the gateway's agent what its Envoy has acknowledged: with that Envoy starts when the server is away."""
        if gateway.keeper is not None:
            gateway.keeper.end()
        stream = gateway.keeper = _Stream(Subscription(), asyncio.Event())
        if gateway.good is not None:
            stream.subscription.set_world(gateway.good)

        async def read() -> None:
            stream.subscription.receive(convert.request(first))
            stream.wake.set()
            async for message in requests:
                stream.subscription.receive(convert.request(message))
                stream.wake.set()

        try:
            await _both(_send(stream, context), read())
        finally:
            if gateway.keeper is stream:
                gateway.keeper = None

    async def _read(self, name: str, gateway: _Gateway, stream: _Stream, requests: Any) -> None:
        async for message in requests:
            self._take(name, gateway, stream, message)

    def _take(self, name: str, gateway: _Gateway, stream: _Stream, message: Any) -> None:
        if stream.replaced:
            return
        nack = stream.subscription.receive(convert.request(message))
        if nack is not None:
            if gateway.latest is not None and nack.version == gateway.latest.version:
                gateway.refused = nack.version
            # Back to the last good world, or on to one that was published since. With neither the stream stays halted.
            if gateway.target is not None and gateway.target.version != nack.version:
                self._aim(gateway)
            self._on_nacked(name, nack.version, nack.sentence)
        stream.wake.set()

    async def _note(self, name: str, gateway: _Gateway, stream: _Stream) -> None:
        """Tell whoever waits. Also after a publish that had nothing to send: then no message comes that would tell."""
        acked = stream.subscription.acked_version
        if acked is not None and acked > gateway.acked and not stream.replaced:
            gateway.acked, gateway.good = acked, gateway.latest
            if gateway.keeper is not None and gateway.good is not None:
                gateway.keeper.subscription.set_world(gateway.good)
                gateway.keeper.wake.set()
            self._on_acked(name, acked)
        async with gateway.changed:
            gateway.changed.notify_all()


async def _nobody() -> None:
    pass


async def _send(
    stream: _Stream, context: grpc.aio.ServicerContext[Any, Any], note: Callable[[], Awaitable[None]] = _nobody
) -> None:
    """What is due, until another stream replaces this one or its client is gone. `note` is called when it is sent."""
    while not stream.replaced:
        for response in stream.subscription.responses():
            try:
                await context.write(response)
            except grpc.aio.InternalError:
                return  # it hung up meanwhile
        await note()
        await stream.wake.wait()
        stream.wake.clear()


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Until one of them has ended."""
    async with asyncio.TaskGroup() as tasks:
        both = (tasks.create_task(one), tasks.create_task(other))
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
