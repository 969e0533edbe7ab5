"""What Envoy is started with. PURE: paths and names in, documents out.

Covers how it reaches the server (delta ADS, load reports and held requests over mTLS with the host's certificate), its admin
socket and which statistics it keeps. Does not cover listeners, routes, clusters: all of that comes from the server.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeport_agent.envoy.limits import LEAST_HEAP_BYTES, limits

SERVER_NAME = "homeport-server"  # the DNS name that every server certificate carries, whatever address it is dialled by
XDS_CLUSTER = "homeport/server"  # no service can have this name
ADS_CLUSTER = "homeport/ads"  # the server, and while it cannot be reached, the standby
STANDBY_CLUSTER = "homeport/standby"
HOLD_CLUSTER = "homeport/hold"  # the server again, for requests that wait for a first replica
MOST_HELD = 10_000  # at one time, over all services; the server has a limit for each of them
ADMIN_SOCKET = "admin.sock"
STANDBY_SOCKET = "standby.sock"
# Bounds of what answers took: seven for each factor of ten, from a millisecond to half an hour.
LATENCY_MS = (
    *(1, 2, 3, 4, 6, 8),
    *(round(step * 10**power) for power in range(1, 6) for step in (1, 1.5, 2, 3, 4, 6, 8)),
    *(1_000_000, 1_800_000),
)

_ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host is, and the files that prove it. The files are replaced by rename when they are renewed."""

    host_id: str
    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Server:
    host: str  # name or address
    port: int  # the mTLS port


def bootstrap(
    identity: Identity, gateway: str, server: Server, run_dir: Path, heap_bytes: int = LEAST_HEAP_BYTES
) -> dict[str, Any]:
    """The bootstrap document. Equal facts make an equal document: a running Envoy is kept when it is unchanged."""
    return {
        "node": {"id": f"{identity.host_id}/{gateway}", "cluster": "homeport"},
        "admin": {
            "address": {"pipe": {"path": str(run_dir / ADMIN_SOCKET), "mode": 0o600}},
            "ignore_global_conn_limit": True,  # the agent looks also when callers have taken all there are
        },
        **limits(heap_bytes),
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                # Back within two seconds after the server was away; the default waits up to 30.
                "grpc_services": [_to(ADS_CLUSTER, {"base_interval": "0.2s", "max_interval": "2s"})],
            },
            "lds_config": _ADS,
            "cds_config": _ADS,
        },
        "cluster_manager": {
            "load_stats_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [_to(XDS_CLUSTER, None)],
            },
        },
        "static_resources": {
            "clusters": [
                _server_cluster(identity, server, run_dir),
                _standby_cluster(run_dir),
                _ADS_CLUSTER,
                _hold_cluster(identity, server, run_dir),
            ]
        },
        # Each second, as load reports. What is kept below is what is sent, of services that were called.
        "stats_flush_interval": "1s",
        "stats_sinks": [
            {
                "name": "envoy.stat_sinks.metrics_service",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig",
                    "transport_api_version": "V3",
                    "grpc_service": _to(XDS_CLUSTER, None),
                    "report_counters_as_deltas": True,
                    "histogram_emit_mode": "HISTOGRAM",
                },
            }
        ],
        # 27 KiB less per service than all of Envoy's statistics. Load reports do not depend on them.
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"suffix": ".upstream_rq_time"}, "buckets": list(LATENCY_MS)}],
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": prefix}
                        for prefix in ("server.", "listener_manager.", "cluster_manager.", "control_plane.")
                    ]
                    + [{"safe_regex": {"regex": pattern}} for pattern in (_HTTP_STATS, _CLUSTER_STATS)],
                }
            },
        },
    }


_HTTP_STATS = r"http\.gateway\.downstream_(rq_(active|total|[1-5]xx)|cx_(active|total))"
# No name of a cluster has a dot: not those of each zone, nor of inner and outer callers.
_CLUSTER_STATS = (
    r"cluster\.[^.]*\.(upstream_(rq_(active|total|retry|time|[1-5]xx)|cx_(active|connect_fail))"
    r"|membership_(healthy|total)|outlier_detection\.ejections_active)"
)


def secrets(identity: Identity) -> dict[str, Any]:
    """The document that Envoy reads its certificate from, again whenever the files in it are replaced."""
    return {
        "resources": [
            {
                "@type": f"{_TLS}.Secret",
                "name": "host",
                "tls_certificate": {
                    "certificate_chain": {"filename": str(identity.certificate)},
                    "private_key": {"filename": str(identity.key)},
                    "watched_directory": {"path": str(identity.certificate.parent)},
                },
            }
        ]
    }


def peers(identity: Identity) -> dict[str, Any]:
    """The document that says whom Envoy trusts when it dials another host. A file holds one secret: Envoy takes no more."""
    secret = {"@type": f"{_TLS}.Secret", "name": "peers"}
    return {"resources": [{**secret, "validation_context": {"trusted_ca": {"filename": str(identity.ca)}}}]}


def _to(cluster: str, back_off: dict[str, str] | None) -> dict[str, Any]:
    service: dict[str, Any] = {"cluster_name": cluster}
    if back_off:
        service["retry_policy"] = {"retry_back_off": back_off}
    return {"envoy_grpc": service}


_HTTP2: dict[str, Any] = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
        },
    }
}

# One source for ADS, so that Envoy says what it holds wherever it connects, and nothing is sent twice.
_ADS_CLUSTER: dict[str, Any] = {
    "name": ADS_CLUSTER,
    "connect_timeout": "5s",
    "lb_policy": "CLUSTER_PROVIDED",
    "cluster_type": {
        "name": "envoy.clusters.aggregate",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
            "clusters": [XDS_CLUSTER, STANDBY_CLUSTER],
        },
    },
}


def _standby_cluster(run_dir: Path) -> dict[str, Any]:
    address = {"pipe": {"path": str(run_dir / STANDBY_SOCKET)}}
    return {
        "name": STANDBY_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": STANDBY_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": _HTTP2,
    }


def _hold_cluster(identity: Identity, server: Server, run_dir: Path) -> dict[str, Any]:
    """Without the outlier detection of the other: where no host is left, Envoy does not try again, it gives up."""
    threshold = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), MOST_HELD)
    # Those that wait for the server to come back are retries; the default, 3, would fail all others.
    threshold["max_retries"] = MOST_HELD
    return {**_to_server(HOLD_CLUSTER, identity, server, run_dir), "circuit_breakers": {"thresholds": [threshold]}}


def _server_cluster(identity: Identity, server: Server, run_dir: Path) -> dict[str, Any]:
    return {
        **_to_server(XDS_CLUSTER, identity, server, run_dir),
        # One failed try to connect, and for a second the standby is asked instead.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": "1s",
            "max_ejection_time": "1s",
            "max_ejection_percent": 100,
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _to_server(name: str, identity: Identity, server: Server, run_dir: Path) -> dict[str, Any]:
    address = {"socket_address": {"address": server.host, "port_value": server.port}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": _HTTP2,
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TLS}.UpstreamTlsContext",
                "sni": SERVER_NAME,
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "alpn_protocols": ["h2"],
                    "tls_certificate_sds_secret_configs": [
                        {
                            "name": "host",
                            "sds_config": {
                                "path_config_source": {"path": str(run_dir / "sds.json")},
                                "resource_api_version": "V3",
                            },
                        }
                    ],
                    "validation_context": {
                        "trusted_ca": {"filename": str(identity.ca)},
                        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": SERVER_NAME}}],
                    },
                },
            },
        },
    }
