"""The host's side of tunnels, in its door's Envoy: one listener for each gateway's host that it dials. PURE.

Such a listener listens nowhere: it keeps connections open to the edge there, and takes what comes back over them. A header,
which the edge writes and nobody else can, says which replica is meant, so that it never changes when replicas do.
"""

from typing import Any

from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.tunnel_words import (
    CLUSTER,
    MARK_HEADER,
    UNLIMITED,
    WAY_HEADER,
    connection_manager,
    name_of,
    sds,
    typed,
    way,
)
from homeport_agent.model import TunnelTo

COUNT = 2  # tunnels to each edge: one that is made anew is not missed

EXTENSION: dict[str, Any] = {
    "name": "envoy.bootstrap.reverse_tunnel.downstream_socket_interface",
    "typed_config": typed(
        "extensions.bootstrap.reverse_tunnel.downstream_socket_interface.v3.DownstreamReverseConnectionSocketInterface",
        stat_prefix="tunnels",
        maintain_interval="0.5s",  # the defaults need ten seconds to dial again
        max_reconnect_backoff="1s",
    ),
}


def clusters(identity: Identity, tunnels: tuple[TunnelTo, ...], ports: tuple[int, ...]) -> list[dict[str, Any]]:
    """The edges, and each replica once more by both protocols that a gateway may speak to it."""
    if not tunnels:
        return []
    replicas = [_replica(protocol, port) for port in ports for protocol in ("HTTP/1.1", "HTTP/2")]
    return [*(_edge(identity, it) for it in tunnels), *replicas]


def listener(identity: Identity, tunnel: TunnelTo) -> dict[str, Any]:
    own = identity.host_id
    tls = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [sds("host")],
            "validation_context": {
                "trusted_ca": {"filename": str(identity.ca)},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": f"homeport://host/{tunnel.gateway_host_id}"}}
                ],
            },
        },
    )
    manager = connection_manager(
        codec="HTTP2",
        route={"cluster_header": WAY_HEADER, "timeout": "0s", "cluster_not_found_response_code": "SERVICE_UNAVAILABLE"},
        # What a replica says under that name is not for the gateway: it would ask another replica once more.
        host={"request_headers_to_remove": [WAY_HEADER], "response_headers_to_remove": [MARK_HEADER]},
        mark=tunnel.mark,
        name="tunnel",
    )
    return typed(
        "config.listener.v3.Listener",
        name=listener_name(tunnel),
        listener_filters_timeout="0s",
        address={
            "socket_address": {
                "address": f"rc://{name_of(own)}:{CLUSTER}:homeport@{listener_name(tunnel)}:{COUNT}",
                "port_value": 0,
                "resolver_name": "envoy.resolvers.reverse_connection",
            }
        },
        filter_chains=[
            {
                "filters": [manager],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": "5s",
            }
        ],
    )


def listener_name(tunnel: TunnelTo) -> str:
    return f"edge-{tunnel.gateway_host_id}"


def _edge(identity: Identity, tunnel: TunnelTo) -> dict[str, Any]:
    name = name_of(tunnel.gateway_host_id)
    address = {"socket_address": {"address": tunnel.address, "port_value": tunnel.port}}
    tls = typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=name,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [sds("host")],
            "validation_context": {
                "trusted_ca": {"filename": str(identity.ca)},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}}],
            },
        },
    )
    return typed(
        "config.cluster.v3.Cluster",
        name=listener_name(tunnel),
        type="STRICT_DNS",
        connect_timeout="3s",
        load_assignment=_at(listener_name(tunnel), address),
        transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": tls},
    )


def _replica(protocol: str, port: int) -> dict[str, Any]:
    name = way(protocol, port)
    limits = dict.fromkeys(("max_connections", "max_requests", "max_pending_requests"), UNLIMITED)
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    config: dict[str, Any] = {"http2_protocol_options": {}} if protocol == "HTTP/2" else {"http_protocol_options": {}}
    return typed(
        "config.cluster.v3.Cluster",
        name=name,
        type="STATIC",
        connect_timeout="1s",
        circuit_breakers={"thresholds": [limits]},
        load_assignment=_at(name, {"socket_address": {"address": "127.0.0.1", "port_value": port}}),
        typed_extension_protocol_options={
            f"envoy.{options}": typed(
                options,
                explicit_http_config=config,
                # As a gateway's own way to it (homeport_control/xds/clusters.py).
                common_http_protocol_options={"idle_timeout": "60s" if protocol == "HTTP/2" else "1s"},
            )
        },
    )


def _at(cluster: str, address: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
