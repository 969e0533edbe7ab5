"""What both ends of a tunnel say alike: windows, keep-alive, names, and the answers that are no replica's. PURE.

The settings are those of Envoy's reverse tunnels that were found by failures: with the default windows a few slow readers
stop all requests of a host, and without keep-alive a cut link is not noticed.
"""

import json
from typing import Any

TYPE = "type.googleapis.com/envoy"
HOST_DOMAIN = "host.homeport"  # certificates of hosts are for HOST-ID.host.homeport
CLUSTER = (
    "edge"  # the one cluster id that a tunnel may claim: another one could take the requests of a host of that name
)
WAY_HEADER = "x-homeport-way"  # which replica of the host: the name of a cluster there
MARK_HEADER = "x-homeport-tunnel"  # as in homeport_control/xds/paths.py
UNREACHABLE = "unreachable"  # no replica has seen the request
BROKEN = "broken"  # one may have
UNLIMITED = 1_000_000

HTTP2: dict[str, Any] = {
    "allow_connect": True,  # WebSockets
    "initial_stream_window_size": 1 << 20,
    "initial_connection_window_size": 256 << 20,
    "connection_keepalive": {"interval": "2s", "timeout": "2s"},
}

# Main gateways and clients have their own limits; a hop that is narrower than these would refuse what they let through.
_HEADERS_KIB, _HEADERS = 96, 200


def way(protocol: str, port: int | str) -> str:
    """`protocol`: in Envoy's words, which the replica gets as the gateway spoke it."""
    return f"{protocol}/{port}"


def name_of(host_id: str) -> str:
    return f"{host_id}.{HOST_DOMAIN}"


def sds(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "sds_config": {"path_config_source": {"path": "./sds.json"}, "resource_api_version": "V3"},
    }


def typed(type_name: str, /, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{TYPE}.{type_name}", **fields}


def upstream_http2() -> dict[str, Any]:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    more = {"max_headers_count": _HEADERS, "max_response_headers_kb": _HEADERS_KIB}
    return {
        f"envoy.{options}": typed(
            options, explicit_http_config={"http2_protocol_options": HTTP2}, common_http_protocol_options=more
        )
    }


def connection_manager(*, codec: str, route: dict[str, Any], host: dict[str, Any], mark: str, name: str) -> Any:
    """A hop that changes nothing of what passes. `host`: further fields of its one virtual host."""
    every = {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}], **host}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=name,
            codec_type=codec,
            upgrade_configs=[{"upgrade_type": "websocket"}],
            http2_protocol_options=HTTP2,
            common_http_protocol_options={"max_headers_count": _HEADERS},
            max_request_headers_kb=_HEADERS_KIB,
            stream_idle_timeout="0s",
            generate_request_id=False,
            skip_xff_append=True,
            server_header_transformation="PASS_THROUGH",
            local_reply_config=_local_replies(mark),
            route_config={"virtual_hosts": [every]},
            http_filters=[
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": typed("extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
                }
            ],
        ),
    }


def _local_replies(mark: str) -> dict[str, Any]:
    """What is said here and not by a replica is marked, so that the gateway asks another one where that is safe."""
    return {
        "mappers": [
            {
                "filter": {"response_flag_filter": {"flags": flags}},
                "headers_to_add": [{"header": {"key": MARK_HEADER, "value": f"{mark} {what}"}}],
            }
            for flags, what in ((["UF", "UH", "NC", "UO"], UNREACHABLE), (["UC", "UR"], BROKEN))
        ],
        "body_format": {
            "text_format_source": {"inline_string": json.dumps({"error": _ERROR}) + "\n"},
            "content_type": "application/json",
        },
    }


_ERROR = {
    "message": "The replica could not be reached through the tunnel to its host; try again.",
    "type": "server_error",
    "param": None,
    "code": "replica_unreachable",
}
