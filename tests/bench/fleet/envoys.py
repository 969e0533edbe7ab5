"""What stands for a gateway's Envoy: it takes whatever delta ADS gives, acknowledges it, and reports no load each second."""

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from homeport_agent.channel import OPTIONS
from homeport_control.xds.subscription import CDS, ECDS, EDS, LDS, RDS

if TYPE_CHECKING:
    from bench.fleet.simulated import Identity

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
LRS = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
AGAIN_S = 0.5


async def serve_gateway(identity: "Identity", name: str) -> None:
    """Until cancelled; after a break it connects again with what it holds, as Envoy does."""
    held: dict[str, dict[str, str]] = {}
    while True:
        credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
        options = (*OPTIONS, ("grpc.max_receive_message_length", 256 << 20))
        try:
            async with grpc.aio.secure_channel(identity.target, credentials, options) as channel:
                node = f"{identity.host_id}/{name}"
                await asyncio.gather(_ads(channel, node, held), _load(channel, node))
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(AGAIN_S)


async def _ads(channel: grpc.aio.Channel, node: str, held: dict[str, dict[str, str]]) -> None:
    call: Any = channel.stream_stream(
        ADS,
        request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
    )()

    async def ask(kind: str, names: Any = (), **fields: Any) -> None:
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=kind, resource_names_subscribe=names, **fields)
        message.node.id = node
        await call.write(message)

    endpoints = held.setdefault(EDS, {})
    subscribed = set(endpoints)
    for kind, names in ((CDS, ()), (EDS, subscribed), (LDS, ()), (ECDS, ("homeport.token",)), (RDS, ("homeport",))):
        if kind != EDS or names:
            await ask(kind, names, initial_resource_versions=held.get(kind))
    while (response := await call.read()) is not grpc.aio.EOF:
        kept = held.setdefault(response.type_url, {})
        for resource in response.resources:
            kept[resource.name] = resource.version
        for gone in response.removed_resources:
            kept.pop(gone, None)
        await ask(response.type_url, response_nonce=response.nonce)
        if response.type_url == CDS:
            clusters = [cluster_pb2.Cluster.FromString(it.resource.value) for it in response.resources]
            wanted = {it.name for it in clusters if it.type == cluster_pb2.Cluster.EDS} - subscribed
            gone = subscribed & set(response.removed_resources)
            if wanted or gone:
                subscribed = (subscribed | wanted) - gone
                await ask(EDS, sorted(wanted), resource_names_unsubscribe=sorted(gone))


async def _load(channel: grpc.aio.Channel, node: str) -> None:
    call: Any = channel.stream_stream(
        LRS,
        request_serializer=lrs_pb2.LoadStatsRequest.SerializeToString,
        response_deserializer=lrs_pb2.LoadStatsResponse.FromString,
    )()
    message = lrs_pb2.LoadStatsRequest()
    message.node.id = node
    while True:
        await call.write(message)
        await asyncio.sleep(1.0)
