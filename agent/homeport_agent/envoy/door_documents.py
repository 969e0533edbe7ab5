"""What the Envoy of a host's door is started with and given. PURE: ports, names and paths in, documents out.

A port for each replica on the host's own address, the same number as on loopback; mutual TLS, and behind it the bytes as they
are: HTTP of any version, upgrades and streams go through untouched. Which side speaks is proved by certificates of the server's
CA: only hosts that are gateways come in, by the URI in their certificate. Files, no server: it goes on without everybody.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeport_agent.envoy import door_tunnels
from homeport_agent.envoy.bootstrap import ADMIN_SOCKET, Identity, secrets
from homeport_agent.envoy.documents import resources
from homeport_agent.envoy.limits import limits
from homeport_agent.model import DoorWish

LOOPBACK = "127.0.0.1"
_TYPE = "type.googleapis.com/envoy"
_UNLIMITED = 1_000_000


def bootstrap(run_dir: Path) -> dict[str, Any]:
    """Paths are relative to its folder, which is where its supervisor starts it."""
    return {
        "node": {"id": "door", "cluster": "homeport"},
        "admin": {
            "address": {"pipe": {"path": str(run_dir / ADMIN_SOCKET), "mode": 0o600}},
            "ignore_global_conn_limit": True,
        },
        **limits(),  # strangers may dial it too
        "bootstrap_extensions": [door_tunnels.EXTENSION],
        "dynamic_resources": {
            "lds_config": {"path_config_source": {"path": "./lds.json"}, "resource_api_version": "V3"},
            "cds_config": {"path_config_source": {"path": "./cds.json"}, "resource_api_version": "V3"},
        },
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"prefix": "server."}, {"prefix": "listener_manager."}]},
            }
        },
    }


def documents(identity: Identity, address: str, ports: tuple[int, ...], wish: DoorWish) -> dict[str, str]:
    """By file name: what may change while it runs. Clusters stand before listeners, which name them."""
    doors = [_listener(identity, address, port, wish.gateway_host_ids) for port in ports]
    tunnels = [door_tunnels.listener(identity, it) for it in wish.tunnels]
    return {
        "sds.json": json.dumps(secrets(identity)),
        "cds.json": resources(
            [*(_cluster(port) for port in ports), *door_tunnels.clusters(identity, wish.tunnels, ports)]
        ),
        "lds.json": resources([*doors, *tunnels]),
    }


def _cluster(port: int) -> dict[str, Any]:
    name = f"port-{port}"
    endpoint = {"address": {"socket_address": {"address": LOOPBACK, "port_value": port}}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests"), _UNLIMITED)
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def _listener(identity: Identity, address: str, port: int, gateway_host_ids: Sequence[str]) -> dict[str, Any]:
    names = [{"san_type": "URI", "matcher": {"exact": f"homeport://host/{it}"}} for it in gateway_host_ids]
    tls = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [
                {
                    "name": "host",
                    "sds_config": {"path_config_source": {"path": "./sds.json"}, "resource_api_version": "V3"},
                }
            ],
            "validation_context": {
                "trusted_ca": {"filename": str(identity.ca)},
                "match_typed_subject_alt_names": names,
            },
        },
    }
    proxy = {
        "@type": f"{_TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "replica",
        "cluster": f"port-{port}",
        "idle_timeout": "3600s",  # as the gateway's own
    }
    return {
        "@type": f"{_TYPE}.config.listener.v3.Listener",
        "name": f"port-{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": "5s",
            }
        ],
    }
