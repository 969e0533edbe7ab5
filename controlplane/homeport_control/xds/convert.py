"""Delta discovery messages to and from the state machine's values. Envoy's untyped protobufs stop here and in wire."""

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from homeport_control.xds.subscription import Request, Response

MOST_ERROR = 4000  # of Envoy's reasons for a NACK, which name all resources of a response


def parse_request(data: bytes) -> Any:
    return discovery_pb2.DeltaDiscoveryRequest.FromString(data)


def node_id(message: Any) -> str:
    """Said in the first request of a stream only."""
    return str(message.node.id)


def request(message: Any) -> Request:
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        error=(message.error_detail.message[:MOST_ERROR] or "refused") if message.HasField("error_detail") else None,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
    )


def response_bytes(response: Response) -> bytes:
    message = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info=str(response.version),
        type_url=response.type_url,
        nonce=response.nonce,
        removed_resources=response.removed,
    )
    for resource in response.resources:
        entry = message.resources.add(name=resource.name, version=resource.version)
        entry.resource.type_url = response.type_url
        entry.resource.value = resource.body
    return bytes(message.SerializeToString())
