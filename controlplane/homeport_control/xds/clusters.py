"""One service's cluster (CDS) and endpoints (EDS).

Covers balancing, connection limits and how a dead replica is left out. Does not cover retries (virtual_hosts), nor which hosts
are checked and how (paths).
No active checks of replicas: Docker's proxy accepts a connection whether or not anything listens behind it, and a model that
computes may not answer for long. The agent probes; a dead container's port refuses, which is seen at the first request and
retried elsewhere. What is checked is the way to another host.
"""

from functools import lru_cache
from typing import Any

from homeport_control.domain.gateway import DEFAULT_TRAFFIC, Affinity, Endpoint, Traffic
from homeport_control.xds.access_log import REPLICA_KEY
from homeport_control.xds.paths import CHECKED, SOCKETS, address, checked, matched, named
from homeport_control.xds.subscription import CDS, EDS, Resource
from homeport_control.xds.token_filter import FILTER
from homeport_control.xds.wire import ADS, newer, resource, typed

_UNLIMITED = 1_000_000

_CLUSTER: dict[str, Any] = {
    "type": "EDS",
    "eds_cluster_config": {"eds_config": ADS},
    "connect_timeout": "1s",
    "lb_policy": "LEAST_REQUEST",
    # 0: never send to draining endpoints because few others are there (the default, 50 %, would do so in each rollout).
    # And what a check finds is with the workers at once: Envoy keeps it for up to a second else, the first good one of a new
    # endpoint too.
    "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
    "ignore_health_on_host_removal": True,
    "circuit_breakers": {
        "thresholds": [
            {
                "max_connections": _UNLIMITED,
                "max_pending_requests": _UNLIMITED,
                "max_requests": _UNLIMITED,
                "max_retries": 1024,  # the default, 3, makes nearly all retries fail when a busy replica dies
            }
        ]
    },
    # Only failures to connect count, never what a replica answers. Of one replica none is left out, of more half:
    # what is left out of one would be everything. A host that answers says nothing of a replica behind it.
    "outlier_detection": {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "0.5s",
        "base_ejection_time": "2s",
        "max_ejection_time": "10s",
        "max_ejection_percent": 50,
        "successful_active_health_check_uneject_host": False,
    },
}


# With an affinity: the same replica for the same value, and few move when replicas come or go.
_RING: dict[str, Any] = {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 1024}}
# A replica's cache is worth something, but not waiting behind everybody else: above half as much more than the mean of all
# the next one on the ring is taken. A session must stay where it is.
_GUARDED: dict[str, Any] = {"consistent_hashing_lb_config": {"hash_balance_factor": 150}}

# What was held goes on at the acknowledgement of a first replica, which counts as failed until its host's first check: where
# none is healthy, all are tried. (And its cluster is that of other hosts always: one that changed would begin without any.)
_WOKEN: dict[str, Any] = {"healthy_panic_threshold": {"value": 1}}

# In per cent: one healthy replica of a thousand takes all requests, none of them goes to one that is degraded.
_ALL_TO_WHO_SERVES: dict[str, Any] = {"overprovisioning_factor": 100_000}

_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP = typed(
    _PROTOCOL,
    explicit_http_config={"http_protocol_options": {}},
    # Shorter than what servers close idle connections after (gunicorn 2 s, uvicorn and Node 5 s): a POST that meets a
    # connection just being closed is lost, and it may not be retried.
    common_http_protocol_options={"idle_timeout": "1s"},
)
_H2C = typed(
    _PROTOCOL,
    # With the default windows some who read slowly stop everybody on the connection.
    explicit_http_config={
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 1 << 20,
            "initial_connection_window_size": 256 << 20,
        }
    },
    common_http_protocol_options={"idle_timeout": "60s"},  # who speaks HTTP/2 says goodbye before it closes
)


def _limited(max_body_bytes: int | None) -> dict[str, Any]:
    """Counted as it passes, nothing is kept. A filter of the cluster: it holds at whichever address the service is called,
    and costs nothing where there is no limit. (In the listener it could only be one number for all services.)"""
    if max_body_bytes is None:
        return {}
    limit = newer("envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit", max_request_bytes=max_body_bytes)
    codec = typed("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec")
    return {
        "http_filters": [
            {"name": "homeport.body", "typed_config": limit},
            {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
        ]
    }


def cluster(
    service: str, traffic: Traffic = DEFAULT_TRAFFIC, *, direct: bool = False, sleeps: bool = False
) -> Resource:
    """`direct`: some of its replicas are behind the doors of other hosts. `sleeps`: it may have none."""
    return _cluster(service, traffic.h2c, traffic.affinity, direct or sleeps, traffic.max_body_bytes, sleeps)


@lru_cache(maxsize=100_000)
def _cluster(
    service: str, h2c: bool, affinity: Affinity | None, direct: bool, max_body_bytes: int | None, sleeps: bool
) -> Resource:
    content = {"name": service, **_CLUSTER}
    protocol = _H2C if h2c else _HTTP
    content["typed_extension_protocol_options"] = {_PROTOCOL: protocol | _limited(max_body_bytes)}
    if affinity is not None:
        content |= _RING
    balancing = _CLUSTER["common_lb_config"] | (_WOKEN if sleeps else {})
    if affinity is not None and affinity.kind == "prefix":
        balancing |= _GUARDED
    content["common_lb_config"] = balancing
    if direct:
        content |= SOCKETS | CHECKED
    return resource(CDS, service, content)


@lru_cache(maxsize=100_000)
def endpoints(service: str, members: tuple[Endpoint, ...], *, held: bool = False) -> Resource:
    """One that drains gets nothing while another one serves, and is still there when that one does not answer for a moment: it
    is left out for that, or waits for its host's first check. When none is to serve any more it gets nothing either, but for
    `held`: the requests wait at the door, and those that were let in a moment before are still on their way.
    """
    serves = any(not member.draining for member in members)
    draining = "DEGRADED" if held or serves else "DRAINING"
    lb_endpoints = [
        {
            "endpoint": {
                "address": address(member),
                **named(member),
                **checked(member),
            },
            "health_status": draining if member.draining else "HEALTHY",
            "metadata": {"filter_metadata": {FILTER: {REPLICA_KEY: member.replica_id}} | matched(member)},
        }
        for member in members
    ]
    # Without a locality Envoy leaves the cluster out of its load reports.
    groups = [{"locality": {"region": "homeport"}, "lb_endpoints": lb_endpoints}] if lb_endpoints else []
    return resource(EDS, service, {"cluster_name": service, "endpoints": groups, "policy": _ALL_TO_WHO_SERVES})
