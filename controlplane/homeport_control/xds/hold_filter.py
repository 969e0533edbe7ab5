"""Holding at the door (ext_authz): a request for a service that is asleep waits until the server says that it may go on.

Covers the filter in the listener, which alone holds nothing, and what a virtual host says to be held. Does not cover who may
go on and when (the room `hold`), nor which service is asleep (decide/routes).

After the filters for tokens and rates: what they refuse is not held. Envoy keeps the request meanwhile, and its body as far
as it buffers it; the server is told a service's name and nothing of the request.

One call for each held request, for as long as it waits: nothing is asked again and again. In a call's retry policy the
longest back-off is also the time limit of each try, so it is that of the whole. Of 100 requests a server that was away for
2 s heard again half within 1.1 s, nine in ten within 2.7 s, the last after 6 s; away for 15 s: 6.6, 20 and 42 s.

An Envoy of an older agent has no such cluster: it takes the listener, and answers 503 where it should hold.
"""

from typing import Any

from homeport_control.domain.holding import GATEWAY_KEY, LONGEST_HELD_S, SERVICE_KEY
from homeport_control.xds.token_filter import SEAL_HEADER
from homeport_control.xds.wire import typed

FILTER = "homeport.hold"
CLUSTER = "homeport/hold"  # in each gateway's bootstrap: the server, without what would make Envoy give up on it
FAILED_STATUS = 500  # of what could not be held; no answer of the server to a held request has it
BODY_BYTES = (
    8 << 20
)  # kept of a held request's body. With more to come Envoy stops reading, and would not see a caller leave
NET_S = LONGEST_HELD_S + 30  # the server ends it before, with its reasons, unless it was away

_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3"

# Off where a virtual host does not say otherwise.
IN_LISTENER: dict[str, Any] = {
    "name": FILTER,
    "disabled": True,
    "typed_config": typed(
        f"{_AUTHZ}.ExtAuthz",
        transport_api_version="V3",
        grpc_service={
            "envoy_grpc": {"cluster_name": CLUSTER},
            "timeout": f"{NET_S:g}s",
            "retry_policy": {
                "retry_on": "unavailable,cancelled,internal,resource-exhausted,connect-failure,reset,refused-stream,5xx",
                "num_retries": 1000,
                "retry_back_off": {"base_interval": "0.1s", "max_interval": f"{NET_S:g}s"},
            },
        },
        status_on_error={"code": FAILED_STATUS},
        # Of the headers only the seal: with it on, the filter for tokens did not run, and the router will refuse it.
        allowed_headers={"patterns": [{"exact": SEAL_HEADER}]},
    ),
}

# For the virtual host of models while one of them is asleep, and for those of the others that it leads to: which filters
# there are is decided at the first one, and what they do at the second.
OFF: dict[str, Any] = {FILTER: typed(f"{_AUTHZ}.ExtAuthzPerRoute", disabled=True)}


def for_host(gateway: str, service: str) -> dict[str, Any]:
    """For the virtual host of a service that is asleep."""
    facts = {GATEWAY_KEY: gateway, SERVICE_KEY: service}
    return {FILTER: typed(f"{_AUTHZ}.ExtAuthzPerRoute", check_settings={"context_extensions": facts})}
