"""The gateway's listeners (LDS), for HTTP, HTTPS and HTTP/3. They never change while the gateway's address stays the same.

A changed listener drains its old connections and cuts streams that are longer than ten minutes: whatever may change
comes by RDS (routes), ECDS (tokens), CDS and EDS (services), SDS (certificates).
"""

import ipaddress
from functools import lru_cache
from typing import Any

from homeport_control.domain.gateway import HTTP3_LISTENER
from homeport_control.xds import hold_filter, rate_limits
from homeport_control.xds.access_log import ACCESS_LOGS
from homeport_control.xds.certificates import QUIC_TRANSPORT_SOCKET, TRANSPORT_SOCKET
from homeport_control.xds.subscription import LDS, Resource
from homeport_control.xds.token_filter import FILTER, SEAL, SEAL_FILTER, SEAL_HEADER
from homeport_control.xds.virtual_hosts import LOCAL_REPLIES, ROUTES, TLS_ROUTES
from homeport_control.xds.wire import ADS, resource, typed

LISTENER = "http"
TLS_LISTENER = "https"

_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"

_SEAL = typed(
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    mutations={
        "request_mutations": [
            {
                "append": {
                    "header": {"key": SEAL_HEADER, "value": SEAL},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            }
        ]
    },
)

_FILTERS: list[dict[str, Any]] = [
    # In C++: every request is sealed until the token filter has let it in; the virtual host of a service that asks for no
    # token lets it in here. (An early header mutation would be cheaper, but it comes before Envoy takes x-envoy-* away from
    # strangers' requests, the seal among it.)
    {"name": SEAL_FILTER, "typed_config": _SEAL},
    {"name": FILTER, "config_discovery": {"config_source": ADS, "type_urls": [_LUA]}},
    rate_limits.IN_LISTENER,
    hold_filter.IN_LISTENER,
    {
        "name": "envoy.filters.http.router",
        "typed_config": typed(
            "envoy.extensions.filters.http.router.v3.Router",
            strict_check_headers=[SEAL_HEADER],
            suppress_envoy_headers=True,
            # Classes of answers and latencies of each cluster hang on it. What else it would count, per code and zone, is
            # not in the bootstrap's list of what is kept.
            dynamic_stats=True,
        ),
    },
]

_CONNECTION_MANAGER: dict[str, Any] = typed(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix="gateway",
    http_filters=_FILTERS,
    local_reply_config=LOCAL_REPLIES,
    access_log=ACCESS_LOGS,
    upgrade_configs=[{"upgrade_type": "websocket"}],
    stream_idle_timeout="0s",  # a stream may be silent: a model that thinks, a WebSocket that waits
    request_headers_timeout="30s",
    use_remote_address=True,  # we are the edge: x-forwarded-for is ours to write, x-envoy-* is nobody's to send
    server_header_transformation="PASS_THROUGH",
)


@lru_cache(maxsize=8)
def listener(address: str, port: int, *, tls: bool = False, trusted: tuple[str, ...] = ()) -> Resource:
    """`trusted`: networks of proxies before it; what they say of a caller and its scheme counts, and nobody else's word."""
    name = TLS_LISTENER if tls else LISTENER
    chains = [_chain(tls, hops=0)]
    if trusted:
        networks = [ipaddress.ip_network(it) for it in trusted]
        ranges = [{"address_prefix": str(it.network_address), "prefix_len": it.prefixlen} for it in networks]
        # With a trusted hop Envoy leaves x-forwarded-proto as it came; without one it overwrites it.
        chains.insert(0, {**_chain(tls, hops=1), "filter_chain_match": {"source_prefix_ranges": ranges}})
    return resource(
        LDS,
        name,
        {
            "name": name,
            "address": {"socket_address": {"address": address, "port_value": port}},
            "filter_chains": chains,
        },
    )


# While a request is open, later and later: a stream may be silent, and without them QUIC ends what is so for 5 minutes, and
# many a NAT what is so for 30 s. Envoy as a server sends none unless it is told.
_PINGS = {"initial_interval": "5s", "max_interval": "25s"}


@lru_cache(maxsize=8)
def quic_listener(address: str, port: int) -> Resource:
    """HTTP/3: as HTTPS, at the same port by UDP."""
    socket = {"protocol": "UDP", "address": address, "port_value": port}
    quic = {"quic_protocol_options": {"connection_keepalive": _PINGS}}
    manager = {"codec_type": "HTTP3", "http3_protocol_options": quic}
    return resource(
        LDS,
        HTTP3_LISTENER,
        {
            "name": HTTP3_LISTENER,
            "address": {"socket_address": socket},
            "udp_listener_config": {"quic_options": {}},
            "filter_chains": [{**_filters(TLS_ROUTES, manager), "transport_socket": QUIC_TRANSPORT_SOCKET}],
        },
    )


def _filters(routes: str, more: dict[str, Any]) -> dict[str, Any]:
    rds = {"route_config_name": routes, "config_source": ADS}
    manager = {**_CONNECTION_MANAGER, "rds": rds, **more}
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _chain(tls: bool, *, hops: int) -> dict[str, Any]:
    chain = _filters(TLS_ROUTES if tls else ROUTES, {"xff_num_trusted_hops": hops} if hops else {})
    return chain | {"transport_socket": TRANSPORT_SOCKET, "transport_socket_connect_timeout": "15s"} if tls else chain
