"""The gateway's one listener (LDS). It never changes while the gateway's address stays the same.

A changed listener drains its old connections and cuts streams that are longer than ten minutes: whatever may change
comes by RDS (routes), ECDS (tokens), CDS and EDS (services).
"""

from functools import lru_cache
from typing import Any

from homeport_control.xds.subscription import LDS, Resource
from homeport_control.xds.token_filter import FILTER, GRANT_HEADER
from homeport_control.xds.virtual_hosts import LOCAL_REPLIES, RBAC_FILTER, ROUTES
from homeport_control.xds.wire import ADS, resource, typed

LISTENER = "http"

_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"

# In order. The token filter writes the grant, RBAC refuses what has none: a virtual host must say so to be open.
_FILTERS: list[dict[str, Any]] = [
    {"name": FILTER, "config_discovery": {"config_source": ADS, "type_urls": [_LUA]}},
    {"name": RBAC_FILTER, "typed_config": typed(_RBAC, rules={"action": "ALLOW", "policies": {}})},
    {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    },
]

_CONNECTION_MANAGER = typed(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix="gateway",
    rds={"route_config_name": ROUTES, "config_source": ADS},
    http_filters=_FILTERS,
    # Before any filter, and in C++: a grant from a client would open every door.
    early_header_mutation_extensions=[
        {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": typed(
                "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[{"remove": GRANT_HEADER}],
            ),
        }
    ],
    local_reply_config=LOCAL_REPLIES,
    upgrade_configs=[{"upgrade_type": "websocket"}],
    stream_idle_timeout="0s",  # a stream may be silent: a model that thinks, a WebSocket that waits
    request_headers_timeout="30s",
    use_remote_address=True,  # we are the edge: x-forwarded-for is ours to write, x-envoy-* is nobody's to send
    server_header_transformation="PASS_THROUGH",
)


@lru_cache(maxsize=4)
def listener(address: str, port: int) -> Resource:
    return resource(
        LDS,
        LISTENER,
        {
            "name": LISTENER,
            "address": {"socket_address": {"address": address, "port_value": port}},
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": _CONNECTION_MANAGER,
                        }
                    ]
                }
            ],
        },
    )
