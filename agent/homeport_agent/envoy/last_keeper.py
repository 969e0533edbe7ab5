"""Keeps on disk what a gateway's Envoy has acknowledged, as the server tells it: a delta-xDS client beside Envoy.

The server gives it only what Envoy has taken, in the order in which Envoy took it: whatever stands here at any moment is
consistent. From disk it knows what it has, so a reconnect costs what changed meanwhile. Does not cover the files
(last_world), nor handing it to an Envoy (standby).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from grpc.aio import AioRpcError
from homeport_protos.agent.v1 import discovery_pb2

from homeport_agent.channel import OPTIONS, why
from homeport_agent.envoy import last_world
from homeport_agent.envoy.bootstrap import Identity, Server
from homeport_agent.envoy.last_world import LastWorld

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
KEEPER = "/keeper"  # at the end of the node's id: not the Envoy itself, but who keeps its last configuration
# Any other code is a broken connection, which gRPC has many words for.
_REFUSALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED)
_OWN: dict[str, int | str] = {
    "grpc.keepalive_time_ms": 10_000,  # as Envoy's own: nothing hurries here
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 500,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.max_receive_message_length": 64 << 20,
}
_OPTIONS = tuple((dict(OPTIONS) | _OWN).items())

_TYPE = "type.googleapis.com/envoy."
LISTENERS = _TYPE + "config.listener.v3.Listener"
CLUSTERS = _TYPE + "config.cluster.v3.Cluster"
TYPES = (
    _TYPE + "config.core.v3.TypedExtensionConfig",
    CLUSTERS,
    _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
    _TYPE + "extensions.transport_sockets.tls.v3.Secret",
    LISTENERS,
    _TYPE + "config.route.v3.RouteConfiguration",
)

WRITE_S = 1.0  # after a change; many changes are one write
AGAIN_S = 60.0  # after one that failed
CONNECT_S = 3.0  # then a fresh channel: gRPC itself would wait ever longer between its tries, and Envoy with it
RETRY_S = 1.0
REFUSED_RETRY_S = 60.0  # a server that is older than this, or a host whose role has just gone

log = logging.getLogger("homeport.agent")


class LastKeeper:
    """`run` until cancelled. `on_server(there)` is called when the server is there, and when it is gone."""

    def __init__(self, run_dir: Path, gateway: str, on_server: Callable[[bool], None]) -> None:
        self._run_dir = run_dir
        self._gateway = gateway
        self._on_server = on_server
        self._world = LastWorld()
        self._is_whole = True  # the file that is there
        self._changed = asyncio.Event()

    async def run(self, identity: Callable[[], Identity], server: Callable[[], Server]) -> None:
        self._world, wrong = await asyncio.to_thread(last_world.read, self._run_dir)
        self._is_whole = not wrong
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            said = ""
            while True:
                target = server()
                try:
                    async with _channel(await asyncio.to_thread(_credentials, identity()), target) as channel:
                        await self._follow(channel, identity().host_id)
                    wait_s, sentence = RETRY_S, ""
                except AioRpcError as error:
                    refused = error.code() in _REFUSALS
                    wait_s = REFUSED_RETRY_S if refused else RETRY_S
                    sentence = why(error, f"{target.host}:{target.port}") if refused else ""
                except TimeoutError:
                    wait_s, sentence = RETRY_S, ""
                except OSError as error:
                    wait_s, sentence = RETRY_S, str(error)
                finally:
                    self._on_server(False)
                if sentence and sentence != said:
                    log.warning("the last configuration of gateway %s is not kept: %s", self._gateway, sentence)
                said = sentence
                await asyncio.sleep(wait_s)

    async def _follow(self, channel: grpc.aio.Channel, host_id: str) -> None:
        async with asyncio.timeout(CONNECT_S):
            await channel.channel_ready()
        self._on_server(True)
        open_stream = channel.stream_stream(
            METHOD,
            request_serializer=discovery_pb2.DeltaRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaResponse.FromString,
        )
        stream: Any = open_stream()
        node = discovery_pb2.Node(id=f"{host_id}/{self._gateway}{KEEPER}")
        for type_url in TYPES:
            held = {name: it.version for name, it in self._world.of(type_url).items()}
            await say(
                stream, discovery_pb2.DeltaRequest(node=node, type_url=type_url, subscribe=["*"], initial_versions=held)
            )
        async for response in _each(stream):
            self._world.take(response)
            self._changed.set()
            await say(stream, discovery_pb2.DeltaRequest(type_url=response.type_url, nonce=response.nonce))

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(WRITE_S)
            self._changed.clear()
            try:
                await asyncio.to_thread(last_world.write, self._run_dir, self._world.copy(), keep_before=self._is_whole)
                self._is_whole = True
            except OSError as error:
                log.warning("the last configuration of gateway %s cannot be written: %s", self._gateway, error)
                self._changed.set()
                await asyncio.sleep(AGAIN_S)


async def say(stream: Any, request: discovery_pb2.DeltaRequest) -> None:
    """Raises AioRpcError, with the server's word, on a stream that the server has ended."""
    try:
        await stream.write(request)
    except asyncio.InvalidStateError:  # gRPC's for an end that came before the write; the next read tells its reason
        await stream.read()


async def _each(stream: Any) -> AsyncIterator[discovery_pb2.DeltaResponse]:
    while (response := await stream.read()) is not grpc.aio.EOF:
        yield response


def _credentials(identity: Identity) -> grpc.ChannelCredentials:
    """Blocking: for a thread."""
    files = (identity.ca, identity.key, identity.certificate)
    return grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))


def _channel(credentials: grpc.ChannelCredentials, server: Server) -> grpc.aio.Channel:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return grpc.aio.secure_channel(f"{host}:{server.port}", credentials, options=_OPTIONS)
