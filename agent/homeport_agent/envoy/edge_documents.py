"""What the edge is started with and given. PURE: host ids, ports and names in, documents out.

The edge is an Envoy beside the gateways of a host. Hosts that these cannot dial dial it, and keep tunnels open; behind each
tunnel are their replicas, and the edge offers a Unix socket for each: to a gateway it is an endpoint like others. One
worker, as tunnels do not move between workers and one without a tunnel answers nothing.

The TLS that a tunnel is made with covers the handshake alone, what passes after it would be in clear: a second one, between
edge and host, covers the rest. Files, no server: it goes on without everybody.
"""

import json
from pathlib import Path
from typing import Any

from homeport_agent.envoy.bootstrap import ADMIN_SOCKET, Identity, secrets
from homeport_agent.envoy.documents import resources
from homeport_agent.envoy.limits import limits
from homeport_agent.envoy.tunnel_words import (
    CLUSTER,
    UNLIMITED,
    WAY_HEADER,
    connection_manager,
    name_of,
    sds,
    typed,
    upstream_http2,
    way,
)
from homeport_agent.model import EdgeHost, EdgeWish

EVERYWHERE = "0.0.0.0"  # noqa: S104 - hosts dial it from elsewhere; who comes in shows a certificate
TUNNELS = "tunnels"


def bootstrap(run_dir: Path) -> dict[str, Any]:
    """Paths are relative to its folder, which is where its supervisor starts it."""
    return {
        "node": {"id": "edge", "cluster": CLUSTER},
        "admin": {
            "address": {"pipe": {"path": str(run_dir / ADMIN_SOCKET), "mode": 0o600}},
            "ignore_global_conn_limit": True,
        },
        **limits(),  # strangers may dial it too
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.reverse_tunnel.upstream_socket_interface",
                "typed_config": typed(
                    "extensions.bootstrap.reverse_tunnel.upstream_socket_interface.v3."
                    "UpstreamReverseConnectionSocketInterface",
                    stat_prefix=TUNNELS,
                    ping_failure_threshold=2,
                    enable_detailed_stats=True,
                ),
            }
        ],
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": it} for it in ("server.", "listener_manager.", f"{TUNNELS}.", "reverse_tunnel.")
                    ]
                }
            }
        },
        "dynamic_resources": {
            "lds_config": {"path_config_source": {"path": "./lds.json"}, "resource_api_version": "V3"},
            "cds_config": {"path_config_source": {"path": "./cds.json"}, "resource_api_version": "V3"},
        },
    }


def socket_name(host_id: str, port: int) -> str:
    """As in homeport_control/xds/paths.py: a gateway's Envoy dials it."""
    return f"{host_id}-{port}.sock"


def documents(identity: Identity, wish: EdgeWish) -> dict[str, str]:
    """By file name: what may change while it runs. Clusters stand before listeners, which name them."""
    sockets = [_socket(host.host_id, port, wish.mark) for host in wish.hosts for port in host.ports]
    return {
        "sds.json": json.dumps(secrets(identity)),
        "cds.json": resources([_host(identity, host) for host in wish.hosts]),
        "lds.json": resources([_tunnels(identity, wish.port), *sockets]),
    }


def _tunnels(identity: Identity, port: int) -> dict[str, Any]:
    tls = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [sds("host")],
            "validation_context": {"trusted_ca": {"filename": str(identity.ca)}},
        },
    )
    tunnel = typed(
        "extensions.filters.network.reverse_tunnel.v3.ReverseTunnel",
        ping_interval="2s",
        # Who it says it is must be whom its certificate names. And the cluster that it says it is of: requests look for
        # a cluster of that name first, so a host could take another one's.
        validation={"node_id_format": "%DOWNSTREAM_PEER_DNS_SAN%", "cluster_id_format": CLUSTER},
    )
    return typed(
        "config.listener.v3.Listener",
        name=TUNNELS,
        address={"socket_address": {"address": EVERYWHERE, "port_value": port}},
        filter_chains=[
            {
                "filters": [{"name": "envoy.filters.network.reverse_tunnel", "typed_config": tunnel}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": "5s",
            }
        ],
    )


def _socket(host_id: str, port: int, mark: str) -> dict[str, Any]:
    name = socket_name(host_id, port)
    header = {"header": {"key": WAY_HEADER, "value": way("%PROTOCOL%", port)}, "append_action": _OVERWRITE}
    manager = connection_manager(
        codec="AUTO",
        route={"cluster": host_id, "timeout": "0s"},
        host={"request_headers_to_add": [header]},
        mark=mark,
        name="replica",
    )
    return typed(
        "config.listener.v3.Listener",
        name=name,
        address={"pipe": {"path": f"./{name}", "mode": 0o600}},
        filter_chains=[{"filters": [manager]}],
    )


_OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"


def _host(identity: Identity, host: EdgeHost) -> dict[str, Any]:
    name = name_of(host.host_id)
    tls = typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=name,
        common_tls_context={
            # A client stops at 1.2 unless it is told.
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [sds("host")],
            "validation_context": {
                "trusted_ca": {"filename": str(identity.ca)},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}}],
            },
        },
    )
    limits = dict.fromkeys(("max_connections", "max_requests", "max_pending_requests"), UNLIMITED)
    return typed(
        "config.cluster.v3.Cluster",
        name=host.host_id,
        connect_timeout="3s",
        lb_policy="CLUSTER_PROVIDED",
        cluster_type={
            "name": "envoy.clusters.reverse_connection",
            "typed_config": typed(
                "extensions.clusters.reverse_connection.v3.ReverseConnectionClusterConfig", host_id_format=name
            ),
        },
        circuit_breakers={"thresholds": [limits]},
        typed_extension_protocol_options=upstream_http2(),
        transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": tls},
    )
