"""The ways from a gateway's Envoy to a replica, in one cluster: plain over loopback, mutual TLS to another host's door, plain
to a socket of the edge beside it, which has a tunnel to the host.

Each endpoint says by its metadata which it is, and by its host name whose certificate must be shown (one host's never does for
another's). Envoy shows its own host's certificate; both lie in files of its host, which its agent renews.
"""

from typing import Any

from homeport_control.domain.gateway import TUNNEL, Endpoint
from homeport_control.trust.ca import HOST_DOMAIN
from homeport_control.xds.wire import typed

DIRECT = "direct"
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


def named(endpoint: Endpoint) -> dict[str, Any]:
    """Whose certificate it must show."""
    return {"hostname": f"{endpoint.host_id}.{HOST_DOMAIN}"} if endpoint.host_id else {}


def matched(endpoint: Endpoint) -> dict[str, Any]:
    """Which of SOCKETS it is dialled by, in its metadata."""
    return {"envoy.transport_socket_match": {"path": DIRECT}} if endpoint.host_id else {}
