"""Routes (RDS): one virtual host per service, one for calling models by name, and one for every other name.

Covers whether a token is asked for, what is retried, what is stripped, and what the gateway itself answers. Does not
cover which token is good (token_filter), so that a token's change touches no route.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from homeport_control.domain.certificates import ALL_NAMES
from homeport_control.domain.gateway import MODELS_LABEL, Affinity, GatewaySnapshot, Proof, ServiceRoute, Traffic
from homeport_control.xds import errors, hold_filter, rate_limits
from homeport_control.xds.paths import MARK_HEADER, retriable
from homeport_control.xds.subscription import RDS, Resource
from homeport_control.xds.token_filter import (
    BY_MODEL,
    FILTER,
    NOT_ASKED,
    PREFIX_HEADER,
    SAID,
    SEAL,
    SEAL_HEADER,
    door,
    route_metadata,
)
from homeport_control.xds.wire import Part, joined, part, typed

ROUTES = "homeport"
TLS_ROUTES = "homeport/tls"
MAX_MODEL_BODY_BYTES = 32 << 20  # it is in memory as a whole, once per request that is being read
ALT_SVC_S = 3600  # for which a caller remembers that there is HTTP/3; who finds none comes by TCP
UPLOAD_IDLE = "60s"  # a body that stands still does not hold its memory for longer

_SAFE = "connect-failure,refused-stream,reset-before-request"  # nothing of the request has reached the replica
_IDEMPOTENT = "GET|HEAD|OPTIONS|PUT|DELETE|TRACE"  # RFC 9110, section 9.2.2


def _retry(retry_on: str, mark: str, *, idempotent: bool) -> dict[str, Any]:
    tunnels = retriable(mark, idempotent=idempotent) if mark else {}
    return {
        "retry_on": f"{retry_on},retriable-headers" if mark else retry_on,
        **tunnels,
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        # Of two replicas the one that breaks has the fewest requests, so three picks of four are that one again.
        "host_selection_retry_max_attempts": 16,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _route(
    service: str, metadata: dict[str, Any], traffic: Traffic, mark: str, match: dict[str, Any], *, idempotent: bool
) -> dict[str, Any]:
    retry_on = f"{_SAFE},reset" if idempotent else _SAFE
    # timeout 0: a model may think for as long as it likes; the client decides when to give up.
    route: dict[str, Any] = {
        "cluster": service,
        "timeout": f"{traffic.response_timeout_s or 0}s",
        "idle_timeout": f"{traffic.idle_timeout_s or 0}s",
        "retry_policy": _retry(retry_on, mark, idempotent=idempotent),
    }
    if traffic.affinity is not None:
        route["hash_policy"] = [_hash_policy(traffic.affinity)]
    # The name is what the access log calls the service.
    return {"name": service, "match": {"prefix": "/", **match}, "metadata": metadata, "route": route}


def _hash_policy(affinity: Affinity) -> dict[str, Any]:
    if affinity.kind == "cookie":
        # Envoy makes one for who has none; it lasts as long as the browser's session.
        flags = [{"name": "HttpOnly"}, {"name": "SameSite", "value": "Lax"}]
        return {"cookie": {"name": affinity.name, "ttl": "0s", "path": "/", "attributes": flags}}
    return {"header": {"header_name": PREFIX_HEADER if affinity.kind == "prefix" else affinity.name.lower()}}


def _service(
    name: str,
    domains: tuple[str, ...],
    auth: bool,
    forward_token: bool,
    model: str,
    traffic: Traffic,
    mark: str,
    held_at: str,
    others_held: bool = False,
) -> dict[str, Any]:
    """`others_held`: requests that come here by model's name come with a filter that holds."""
    if held_at and traffic.idle_timeout_s:
        # What waits is silent; it keeps this limit when it goes on.
        traffic = replace(traffic, idle_timeout_s=max(traffic.idle_timeout_s, int(hold_filter.NET_S)))
    hold = hold_filter.for_host(held_at, name) if held_at else hold_filter.OFF if others_held and model else {}
    body_bytes = max(MAX_MODEL_BODY_BYTES if _has_prefix(traffic) else 0, hold_filter.BODY_BYTES if held_at else 0)
    prefix_bytes = traffic.affinity.length if traffic.affinity else 0
    metadata = route_metadata(name, auth=auth, forward_token=forward_token, model=model, prefix_bytes=prefix_bytes)
    method = {"headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": _IDEMPOTENT}}}]}
    return {
        "name": name,
        "domains": list(domains),
        "routes": [
            _route(name, metadata, traffic, mark, method, idempotent=True),
            _route(name, metadata, traffic, mark, {}, idempotent=False),
        ],
        # A replica sees no token of ours but where its file wants it; without auth the header is its own business.
        "request_headers_to_remove": ["authorization"] if auth and not forward_token else [],
        "typed_per_filter_config": door(auth=auth, has_prompts=bool(model or prefix_bytes))
        | rate_limits.for_host(traffic.rate_limits)
        | hold,
        **({"response_headers_to_remove": [MARK_HEADER]} if mark else {}),
    } | ({"request_body_buffer_limit": str(body_bytes)} if body_bytes else {})


def _has_prefix(traffic: Traffic) -> bool:
    return traffic.affinity is not None and traffic.affinity.length > 0


def _models(domains: list[str], *, limited: bool, held: bool) -> dict[str, Any]:
    """Where the body says which service is meant. A request that stays on this route is answered 404. `limited`: one of
    the services has rate limits. `held`: one that has a model is asleep."""
    # A route that forwards, to a cluster that no request can name: before a direct response the limit would not count.
    nowhere = {"cluster_header": ":none", "cluster_not_found_response_code": "NOT_FOUND", "idle_timeout": UPLOAD_IDLE}
    return {
        "name": "homeport/models",  # no service's name has a slash
        "domains": domains,
        "request_body_buffer_limit": str(MAX_MODEL_BODY_BYTES),
        "routes": [{"match": {"prefix": "/"}, "route": nowhere}],
        "typed_per_filter_config": BY_MODEL
        | (rate_limits.BY_MODEL if limited else {})
        | (hold_filter.OFF if held else {}),
    }


_NOBODY: dict[str, Any] = {
    "name": "homeport/unknown-host",
    "domains": ["*"],
    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
    "typed_per_filter_config": NOT_ASKED,
}


def _elsewhere(name: str, domains: list[str], https_port: int) -> dict[str, Any]:
    """Who comes by HTTP is sent to HTTPS: 308, so that a POST stays one."""
    redirect = {"https_redirect": True, "port_redirect": https_port, "response_code": "PERMANENT_REDIRECT"}
    return {
        "name": name,
        "domains": domains,
        "routes": [{"match": {"prefix": "/"}, "redirect": redirect}],
        "typed_per_filter_config": NOT_ASKED,
    }


def _proving(host: dict[str, Any], proofs: tuple[Proof, ...]) -> dict[str, Any]:
    """With what an authority looks for at its names, before anything else."""
    routes = [
        {
            "match": {"path": proof.path},
            "direct_response": {"status": 200, "body": {"inline_string": proof.text}},
            "typed_per_filter_config": NOT_ASKED,
        }
        for proof in proofs
        if proof.name in host["domains"]
    ]
    return {**host, "routes": [*routes, *host["routes"]]} if routes else host


@dataclass(frozen=True, slots=True)
class Door:
    """One listener's view: which services it lets in, and where it sends the others' callers."""

    name: str  # of its routes
    domains: tuple[str, ...]
    https_port: int = 0  # of who is sent to HTTPS
    models: bool = True  # called here; False: sent to HTTPS
    proofs: tuple[Proof, ...] = ()
    http3_port: int = 0  # that callers are told of (Alt-Svc, RFC 7838)


# What a virtual host of a service is made of: name, domains, auth, forward_token, model, traffic, mark of tunnels, and the
# gateway where its requests are held, or nothing.
Facts = tuple[str, tuple[str, ...], bool, bool, str, Traffic, str, str]


@lru_cache(maxsize=8)
def _routes(services: tuple[tuple[Facts, bool], ...], door: Door) -> Resource:
    """`services`: each with whether it is let in here; the callers of the others are sent to HTTPS."""
    proved = {proof.name for proof in door.proofs}
    held = any(model and held_at for (*_, model, _traffic, _mark, held_at), _ in services)
    hosts = [
        _part(facts, here, held and bool(facts[4]), 0 if here else door.https_port)
        if proved.isdisjoint(facts[1])
        else part(RDS, {"virtual_hosts": [_proving(_host(facts, here, held, door.https_port), door.proofs)]})
        for facts, here in services
    ]
    taken = {name for facts, _ in services for name in facts[1]}  # by a service from before there were models
    rest = [_NOBODY]
    if models := [name for domain in door.domains if (name := f"{MODELS_LABEL}.{domain}") not in taken]:
        limited = any(traffic.rate_limits for (*_, traffic, _mark, _held), _ in services)
        there = _models(models, limited=limited, held=held) if door.models else None
        host = there or _elsewhere("homeport/models", models, door.https_port)
        rest.insert(0, _proving(host, door.proofs))
    frame = {"name": door.name, "ignore_port_in_host_matching": True}
    frame |= _told_of(door.http3_port) if door.http3_port else {}
    return joined(door.name, (part(RDS, frame), *hosts, part(RDS, {"virtual_hosts": rest})))


def _host(facts: Facts, here: bool, others_held: bool, https_port: int) -> dict[str, Any]:
    return _service(*facts, others_held) if here else _elsewhere(facts[0], list(facts[1]), https_port)


@lru_cache(maxsize=100_000)
def _part(facts: Facts, here: bool, others_held: bool, https_port: int) -> Part:
    return part(RDS, {"virtual_hosts": [_host(facts, here, others_held, https_port)]})


def _told_of(http3_port: int) -> dict[str, Any]:
    header = {"key": "alt-svc", "value": f'h3=":{http3_port}"; ma={ALT_SVC_S}'}
    return {"response_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]}


def routes(snapshot: GatewaySnapshot) -> dict[str, Resource]:
    """By name: those of HTTP, and those of HTTPS where it is spoken."""
    domains = tuple(domain for domain in (snapshot.domain, snapshot.old_domain) if domain)
    plain = Door(ROUTES, domains, snapshot.https_port, snapshot.plain_models, snapshot.proofs)
    mark = snapshot.tunnel_mark
    made = {ROUTES: _routes(tuple((_facts(it, snapshot.gateway, mark), it.plain) for it in snapshot.services), plain)}
    if snapshot.https_port:
        secure = tuple((_facts(it, snapshot.gateway, mark), True) for it in snapshot.services if it.secure)
        has_http3 = snapshot.http3 and any(it.name == ALL_NAMES for it in snapshot.certificates)
        door = Door(TLS_ROUTES, domains, http3_port=snapshot.https_port if has_http3 else 0)
        made[TLS_ROUTES] = _routes(secure, door)
    return made


def _facts(it: ServiceRoute, gateway: str, mark: str) -> Facts:
    model, tunnelled = it.model.name if it.model else "", any(each.is_tunnelled for each in it.endpoints)
    mark, held_at = mark if tunnelled else "", gateway if it.held else ""
    return it.name, it.domains, it.auth, it.forward_token, model, it.traffic, mark, held_at


def _status(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "homeport.none"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _flags(*flags: str) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": list(flags)}}


_SEALED: dict[str, Any] = {
    "header_filter": {"header": {"name": SEAL_HEADER, "string_match": {"exact": SEAL}}},
}

_AT_MODELS: dict[str, Any] = {
    "header_filter": {"header": {"name": ":authority", "string_match": {"prefix": f"{MODELS_LABEL}."}}},
}
_SAID: dict[str, Any] = {
    "metadata_filter": {
        "matcher": {"filter": FILTER, "path": [{"key": SAID}], "value": {"bool_match": True}},
        "match_if_key_not_found": False,
    }
}
_AS_IT_IS: dict[str, Any] = {
    "filter": _SAID,
    "body_format_override": {
        "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
        "content_type": "application/json",
    },
}

# What the server says of a held request; its own words, if there are any.
_OF_HELD = _flags("UAEX")
_NOT_HELD: dict[str, Any] = {
    "filter": {"and_filter": {"filters": [_status(hold_filter.FAILED_STATUS), _OF_HELD]}},
    "status_code": 503,
    "body_format_override": {"json_format": errors.NOT_HELD},
    "headers_to_add": [{"header": {"key": "retry-after", "value": "10"}}],
}

# The first that fits counts. Only answers of the gateway itself come by here, never a replica's.
LOCAL_REPLIES: dict[str, Any] = {
    "mappers": [
        _AS_IT_IS,
        _NOT_HELD,
        {**_AS_IT_IS, "filter": _OF_HELD},
        *(
            {"filter": filter_, "body_format_override": {"json_format": body}, **more}
            for filter_, body, more in (
                # The way out of the route for models that leads nowhere: the filter that chooses another did not run.
                ({"and_filter": {"filters": [_status(404), _flags("NC")]}}, errors.NOT_CHECKED, {"status_code": 500}),
                (_flags("UH", "NC"), errors.NO_REPLICA, {}),
                (_flags("UT", "SI"), errors.TOO_SLOW, {}),
                (_flags("UF", "UC", "URX", "LR"), errors.REPLICA_FAILED, {}),
                (_flags("UPE"), errors.NONSENSE, {}),
                # What the router says to a sealed request: the token filter did not run.
                ({"and_filter": {"filters": [_status(400), _SEALED]}}, errors.NOT_CHECKED, {"status_code": 500}),
                (_status(500), errors.NOT_CHECKED, {}),
                (_status(401), errors.NO_TOKEN, {}),
                (_status(403), errors.WRONG_TOKEN, {}),
                (_status(404), errors.UNKNOWN_HOST, {}),
                # The name is another one when the model was found: then it is the limit of the service that serves it.
                ({"and_filter": {"filters": [_status(413), _AT_MODELS]}}, errors.TOO_LARGE_TO_READ, {}),
                (_status(413), errors.TOO_LARGE, {}),
                (_status(429), errors.TOO_MANY, {}),
                *((_status(status), errors.BAD_REQUEST, {}) for status in (400, 426, 501)),
                (_status(408), errors.TOO_LATE, {}),
                (_status(431), errors.HEADERS_TOO_LARGE, {}),
                (_status(503), errors.OVERLOADED, {}),  # the one without a flag
            )
        ),
    ]
}
