"""The ways from a gateway's Envoy to a replica, in one cluster: plain over loopback, mutual TLS to another host's door, plain
to a socket of the edge beside it, which has a tunnel to the host.

Each endpoint says by its metadata which it is, and by its host name whose certificate must be shown (one host's never does for
another's). Envoy shows its own host's certificate; both lie in files of its host, which its agent renews.

Covers also whether a host is still there: two connections to the door each second, without a request, which its kernel accepts
however busy it is. Of what was tried, controlplane/README.md.
"""

import socket
from typing import Any

from homeport_control.domain.gateway import TUNNEL, Endpoint
from homeport_control.trust.ca import HOST_DOMAIN
from homeport_control.xds.wire import typed

DIRECT = "direct"
_TCP_USER_TIMEOUT = 18  # Linux's; socket.TCP_USER_TIMEOUT is not there on other systems, where the types are checked
_TLS_13 = {
    "tls_minimum_protocol_version": "TLSv1_3",
    "tls_maximum_protocol_version": "TLSv1_3",
}  # a client stops at 1.2 else
# In the folder where its supervisor starts it; the names are those of homeport_agent/envoy/bootstrap.py.
_OWN = {"path_config_source": {"path": "./sds.json"}, "resource_api_version": "V3"}
_TRUSTED = {"path_config_source": {"path": "./peers.json"}, "resource_api_version": "V3"}

SOCKETS: dict[str, Any] = {
    "transport_socket_matches": [
        {
            "name": DIRECT,
            "match": {"path": DIRECT},
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": typed(
                    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    auto_host_sni=True,
                    auto_sni_san_validation=True,
                    common_tls_context={
                        "tls_params": _TLS_13,
                        "tls_certificate_sds_secret_configs": [{"name": "host", "sds_config": _OWN}],
                        "validation_context_sds_secret_config": {"name": "peers", "sds_config": _TRUSTED},
                    },
                ),
            },
        },
        {
            "name": "loopback",
            "match": {},
            "transport_socket": {
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
            },
        },
    ]
}


# In answers of a tunnel's ends, after the gateway's mark (homeport_agent/envoy/tunnel_words.py): whether a replica may
# have seen the request. Another one is asked where that is safe; the caller does not see it.
MARK_HEADER = "x-homeport-tunnel"
UNREACHABLE, BROKEN = "unreachable", "broken"


def address(endpoint: Endpoint) -> dict[str, Any]:
    """An edge's folder is beside those of the gateways (homeport_agent/envoy/host.py): EDS takes each address but once."""
    if endpoint.is_tunnelled:
        return {"pipe": {"path": f"../../edge/{endpoint.address.removeprefix(TUNNEL)}-{endpoint.port}.sock"}}
    return {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}


def retriable(mark: str, *, idempotent: bool) -> dict[str, Any]:
    """For the retry policy of a service with replicas behind tunnels."""
    said = [UNREACHABLE, BROKEN] if idempotent else [UNREACHABLE]
    return {"retriable_headers": [{"name": MARK_HEADER, "string_match": {"exact": f"{mark} {it}"}} for it in said]}


_TICK_S, _ANSWER_S, _FAILURES = 0.4, 0.35, 2  # worst: 1.5 s until a dead host is left out
_GIVEN_UP_S = 60  # what is under way to a dead host ends then; so does a body that a replica stops reading for so long

CHECKED: dict[str, Any] = {
    "health_checks": [
        {
            "timeout": f"{_ANSWER_S}s",
            "interval": f"{_TICK_S}s",
            "no_traffic_interval": f"{_TICK_S}s",  # a minute else, in which nobody has asked yet
            "unhealthy_threshold": _FAILURES,
            "healthy_threshold": 1,
            "tcp_health_check": {},
            "transport_socket_match_criteria": {},  # without TLS: cheaper for both, and as true of the host
        }
    ],
    # Not `close_connections_on_host_health_failure`: a network that stutters for a second would cut every stream.
    "upstream_connection_options": {
        "tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 10, "keepalive_probes": 2}
    },
    "upstream_bind_config": {
        "socket_options": [
            {
                "description": "TCP_USER_TIMEOUT",
                "level": socket.IPPROTO_TCP,
                "name": _TCP_USER_TIMEOUT,
                "int_value": _GIVEN_UP_S * 1000,
                "state": "STATE_PREBIND",
            }
        ]
    },
}


def checked(endpoint: Endpoint) -> dict[str, Any]:
    """The gateway's own host needs no check: when it is away, so is the gateway."""
    return {} if endpoint.host_id else {"health_check_config": {"disable_active_health_check": True}}


def named(endpoint: Endpoint) -> dict[str, Any]:
    """Whose certificate it must show."""
    return {"hostname": f"{endpoint.host_id}.{HOST_DOMAIN}"} if endpoint.host_id else {}


def matched(endpoint: Endpoint) -> dict[str, Any]:
    """Which of SOCKETS it is dialled by, in its metadata."""
    return {"envoy.transport_socket_match": {"path": DIRECT}} if endpoint.host_id else {}
