"""The gateway's one listener (LDS). It never changes while the gateway's address stays the same.

A changed listener drains its old connections and cuts streams that are longer than ten minutes: whatever may change
comes by RDS (routes), ECDS (tokens), CDS and EDS (services).
"""

from functools import lru_cache
from typing import Any

from homeport_control.xds import rate_limits
from homeport_control.xds.access_log import ACCESS_LOG
from homeport_control.xds.subscription import LDS, Resource
from homeport_control.xds.token_filter import FILTER, SEAL, SEAL_HEADER
from homeport_control.xds.virtual_hosts import LOCAL_REPLIES, ROUTES
from homeport_control.xds.wire import ADS, resource, typed

LISTENER = "http"

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
    # In C++: every request is sealed until the token filter has let it in. (An early header mutation would be cheaper,
    # but it comes before Envoy takes x-envoy-* away from strangers' requests, the seal among it.)
    {"name": "homeport.seal", "typed_config": _SEAL},
    {"name": FILTER, "config_discovery": {"config_source": ADS, "type_urls": [_LUA]}},
    rate_limits.IN_LISTENER,
    {
        "name": "envoy.filters.http.router",
        "typed_config": typed(
            "envoy.extensions.filters.http.router.v3.Router",
            strict_check_headers=[SEAL_HEADER],
            suppress_envoy_headers=True,
            dynamic_stats=False,  # a counter per cluster and status code: load reports carry what we need
        ),
    },
]

_CONNECTION_MANAGER = typed(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix="gateway",
    rds={"route_config_name": ROUTES, "config_source": ADS},
    http_filters=_FILTERS,
    local_reply_config=LOCAL_REPLIES,
    access_log=[ACCESS_LOG],
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
