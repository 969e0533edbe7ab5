"""Routes (RDS): one virtual host per service, and one for every other name.

Covers whether a token is asked for, what is retried, what is stripped, and what the gateway itself answers. Does not
cover which token is good (token_filter), so that a token's change touches no route.
"""

from functools import lru_cache
from typing import Any

from homeport_control.domain.gateway import ServiceRoute
from homeport_control.xds import errors
from homeport_control.xds.subscription import RDS, Resource
from homeport_control.xds.token_filter import NOT_ASKED, OPEN, SEAL, SEAL_HEADER, route_metadata
from homeport_control.xds.wire import resource, typed

ROUTES = "homeport"

_SAFE = "connect-failure,refused-stream,reset-before-request"  # nothing of the request has reached the replica
_IDEMPOTENT = "GET|HEAD|OPTIONS|PUT|DELETE|TRACE"  # RFC 9110, section 9.2.2


def _retry(retry_on: str) -> dict[str, Any]:
    return {
        "retry_on": retry_on,
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": 5,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _route(service: str, match: dict[str, Any], retry_on: str) -> dict[str, Any]:
    # timeout 0: a model may think for as long as it likes; the client decides when to give up.
    return {
        "match": {"prefix": "/", **match},
        "metadata": route_metadata(service),
        "route": {"cluster": service, "timeout": "0s", "retry_policy": _retry(retry_on)},
    }


@lru_cache(maxsize=100_000)
def _service(name: str, domains: tuple[str, ...], auth: bool) -> dict[str, Any]:
    method = {"headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": _IDEMPOTENT}}}]}
    return {
        "name": name,
        "domains": list(domains),
        "routes": [_route(name, method, f"{_SAFE},reset"), _route(name, {}, _SAFE)],
        # A replica never sees a token of ours; without auth the header is the application's own business.
        "request_headers_to_remove": ["authorization"] if auth else [],
        "typed_per_filter_config": {} if auth else OPEN,
    }


_NOBODY: dict[str, Any] = {
    "name": "unknown-host",
    "domains": ["*"],
    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
    "typed_per_filter_config": NOT_ASKED,
}


@lru_cache(maxsize=4)
def _routes(services: tuple[tuple[str, tuple[str, ...], bool], ...]) -> Resource:
    hosts = [_service(*service) for service in services]
    return resource(
        RDS,
        ROUTES,
        {"name": ROUTES, "ignore_port_in_host_matching": True, "virtual_hosts": [*hosts, _NOBODY]},
    )


def routes(services: tuple[ServiceRoute, ...]) -> Resource:
    return _routes(tuple((service.name, service.domains, service.auth) for service in services))


def _status(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "homeport.none"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _flags(*flags: str) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": list(flags)}}


_SEALED: dict[str, Any] = {
    "header_filter": {"header": {"name": SEAL_HEADER, "string_match": {"exact": SEAL}}},
}

# The first that fits counts. Only answers of the gateway itself come by here, never a replica's.
LOCAL_REPLIES: dict[str, Any] = {
    "mappers": [
        {"filter": filter_, "body_format_override": {"json_format": body}, **more}
        for filter_, body, more in (
            (_flags("UH", "NC"), errors.NO_REPLICA, {}),
            (_flags("UF", "UC", "URX", "LR"), errors.REPLICA_FAILED, {}),
            # What the router says to a sealed request: the token filter did not run.
            ({"and_filter": {"filters": [_status(400), _SEALED]}}, errors.NOT_CHECKED, {"status_code": 500}),
            (_status(500), errors.NOT_CHECKED, {}),
            (_status(401), errors.NO_TOKEN, {}),
            (_status(403), errors.WRONG_TOKEN, {}),
            (_status(404), errors.UNKNOWN_HOST, {}),
        )
    ]
}
