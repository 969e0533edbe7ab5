"""From plain dicts to Envoy's protobufs.

Covers packing and the version of a resource. Does not cover what stands in the dicts (listener, virtual_hosts,
clusters, token_filter).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.transport_sockets.quic.v3 import quic_transport_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format
from xds.type.v3 import typed_struct_pb2

from homeport_control.xds.subscription import CDS, ECDS, EDS, LDS, RDS, SDS, TYPE, Resource

# Importing them is what makes them known by name; a typed_config in a dict is looked up there.
KNOWN = (
    accesslog_pb2,
    ext_authz_pb2,
    file_pb2,
    header_mutation_pb2,
    http_connection_manager_pb2,
    http_protocol_options_pb2,
    local_rate_limit_pb2,
    lua_pb2,
    previous_hosts_pb2,
    quic_transport_pb2,
    raw_buffer_pb2,
    router_pb2,
    tls_pb2,
    typed_struct_pb2,
    upstream_codec_pb2,
)

_MESSAGES = {
    LDS: listener_pb2.Listener,
    RDS: route_pb2.RouteConfiguration,
    CDS: cluster_pb2.Cluster,
    EDS: endpoint_pb2.ClusterLoadAssignment,
    ECDS: extension_pb2.TypedExtensionConfig,
    SDS: secret_pb2.Secret,
}

ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}


def typed(message: str, **fields: Any) -> dict[str, Any]:
    """A typed_config: `message` is the protobuf's full name."""
    return {"@type": TYPE + message, **fields}


def newer(message: str, **fields: Any) -> dict[str, Any]:
    """As `typed`, for a message that xds-protos is too old for: Envoy reads the fields by their names."""
    return {"@type": TYPE + "xds.type.v3.TypedStruct", "type_url": TYPE + message, "value": fields}


def resource(type_url: str, name: str, content: dict[str, Any]) -> Resource:
    """The version comes from the dict, not from the bytes: protobuf may order a map differently in another process,
    and a listener that is sent again for nothing cuts long streams."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    message = json_format.ParseDict(content, _MESSAGES[type_url]())
    return Resource(name, hashlib.sha256(canonical).hexdigest()[:16], message.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a resource with many of them: they are joined as bytes, so that one that changed costs one."""

    digest: bytes
    body: bytes


def part(type_url: str, content: dict[str, Any]) -> Part:
    """`content` holds only this piece of the resource."""
    made = resource(type_url, "", content)
    return Part(made.version.encode(), made.body)


def joined(name: str, parts: Iterable[Part]) -> Resource:
    """Protobuf: messages that are written one behind the other are one message, its lists put together in that order."""
    all_of_it = list(parts)
    version = hashlib.sha256(b"".join(it.digest for it in all_of_it)).hexdigest()[:16]
    return Resource(name, version, b"".join(it.body for it in all_of_it))
