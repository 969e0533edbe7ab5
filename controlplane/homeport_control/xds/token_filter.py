"""The token filter: hashes of tokens and names of models in, one Lua filter out, delivered by ECDS.

Why here and not in the routes: a token that is made or revoked changes this one small resource and nothing else,
however many services there are. Connections and streams are not touched.

How it fails closed: a filter before it *seals* every request with a header that the router refuses; this filter breaks
the seal. Tried and left (CPU per request, beside 53 us for a bare route and +6.3 for this filter): RBAC behind it, +3.8
as a matcher, +4 as policies, against +1 for the seal. A cluster specifier in Lua does it all for +4.7, but at the end of
the chain, where whatever comes later (holding, models) would have worked for strangers already.

The same filter has another door for gateway.<domain>, chosen by that virtual host: it asks for the token before it reads
a body, finds the model's name in it, sends the request to the virtual host of the service that declares it, and breaks
the seal when that route says that the token is good for it. One filter and not two: nothing that one says would have to
be believed by the next, and the listener stays as it is.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from homeport_control.domain.gateway import PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds.subscription import ECDS, Resource
from homeport_control.xds.wire import resource, typed

FILTER = "homeport.token"
EVERY_SERVICE = "*"

# A header that the router checks (strict_check_headers) with a value that it refuses. Whatever a client sends under this
# name is overwritten before any filter runs.
SEAL_HEADER = "x-envoy-max-retries"
SEAL = "sealed"
SEAL_FILTER = "homeport.seal"

# In a route's metadata: what the Lua reads.
SERVICE_KEY = "service"
_OPEN_KEY = "open"
_FORWARD_KEY = "forward_token"
_MODEL_KEY = "model"
_TOGETHER_KEY = "together"  # so many bytes of a prompt keep requests on one replica
# Doors, which a virtual host names.
_OPEN = "open"
_MODELS = "models"
_USAGE = "usage"
_OPEN_USAGE = "open, usage"
PREFIX_HEADER = "x-homeport-prefix"  # the hash of a prompt's first part, by which its replica is chosen
SAID = "said"  # in a request's dynamic metadata: this filter has written the answer's body itself

_LUA = resources.files(__package__)


def _joined(*names: str) -> str:
    return "".join(_LUA.joinpath(f"{name}.lua").read_text() for name in names)


_SOURCE = _joined("sha256", "grants", "tokens")
_MODELS_SOURCE = _joined("sha256", "grants", "json", "prefix", "models")
_USAGE_SOURCE = _joined("sha256", "grants", "usage", "prefix", "tokens")
_OPEN_SOURCE = _joined("open")
_OPEN_USAGE_SOURCE = _joined("grants", "usage", "prefix", "open")

_PER_ROUTE = "envoy.extensions.filters.http.lua.v3.LuaPerRoute"
_SEAL_PER_ROUTE = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"

# For a virtual host: where nothing leads to a replica, and where the body says which.
NOT_ASKED: dict[str, Any] = {FILTER: typed(_PER_ROUTE, disabled=True)}
BY_MODEL: dict[str, Any] = {FILTER: typed(_PER_ROUTE, name=_MODELS)}
# Without a token, and nothing to read: the filter that seals takes the seal away again, and no Lua runs (4 us of CPU less).
_OPEN_WITHOUT_LUA: dict[str, Any] = {
    **NOT_ASKED,
    SEAL_FILTER: typed(_SEAL_PER_ROUTE, mutations={"request_mutations": [{"remove": SEAL_HEADER}]}),
}


def door(*, auth: bool, has_prompts: bool) -> dict[str, Any]:
    """For the virtual host of a service. What an answer used, and which replica a prompt belongs to, is read only where a model
    answers or the file asks for it: it costs."""
    if not has_prompts:
        return {} if auth else _OPEN_WITHOUT_LUA
    return {FILTER: typed(_PER_ROUTE, name=_USAGE if auth else _OPEN_USAGE)}


def route_metadata(
    service: str, *, auth: bool, forward_token: bool, model: str, prefix_bytes: int = 0
) -> dict[str, Any]:
    """Every route to a service must carry it: tokens for named services are compared with it."""
    said: dict[str, Any] = {SERVICE_KEY: service} | ({_TOGETHER_KEY: prefix_bytes} if prefix_bytes else {})
    said |= ({} if auth else {_OPEN_KEY: True}) | ({_FORWARD_KEY: True} if forward_token else {})
    return {"filter_metadata": {FILTER: said | ({_MODEL_KEY: model} if model else {})}}


def grant(token: TokenGrant) -> str:
    """Whose a token is and what it is good for, as grants.lua reads it."""
    services = "," + ",".join(token.services) + "," if token.services else EVERY_SERVICE
    return f"{token.token_id or '-'} {services}"


def lua_source(tokens: tuple[TokenGrant, ...], *, counts_usage: bool = False) -> str:
    return _with_grants(_USAGE_SOURCE if counts_usage else _SOURCE, tokens)


def models_source(tokens: tuple[TokenGrant, ...], services: tuple[ServiceRoute, ...]) -> str:
    return _models_source(tokens, _model_lines(services))


def _models_source(tokens: tuple[TokenGrant, ...], lines: tuple[str, ...]) -> str:
    return _with_grants(_MODELS_SOURCE, tokens).replace("@MODELS@", "\n".join(lines))


def _with_grants(source: str, tokens: tuple[TokenGrant, ...]) -> str:
    # One string that is parsed at load: a table constructor of this size would meet LuaJIT's limit on constants.
    table = "\n".join(f"{token.token_sha256} {grant(token)}" for token in tokens)
    source = source.replace("@PREFIX@", PREFIX_HEADER)
    return source.replace("@SEAL@", SEAL_HEADER).replace("@FILTER@", FILTER).replace("@GRANTS@", table)


def _model_lines(services: tuple[ServiceRoute, ...]) -> tuple[str, ...]:
    """By name; of those that serve one name the oldest first: it is its entry that is listed."""
    found = [
        (_hex(name), service.model.created_at_s, _model_line(service, service.model, name))
        for service in services
        if service.model
        for name in service.model.names
    ]
    return tuple(line for _, _, line in sorted(found))


def _model_line(service: ServiceRoute, model: PublishedModel, name: str) -> str:
    """What models.lua reads of one name. Anything may stand in it: in hex, or as JSON that cannot end Lua's string."""
    entry = {"id": name, "object": "model", "created": model.created_at_s, "owned_by": "homeport"}
    label, prefix = _hex(json.dumps(name)[1:-1]), _hex(model.prefix)
    listed = json.dumps(entry, separators=(",", ":")).replace("]", "\\u005d")
    affinity = service.traffic.affinity
    flags = f"{int(not service.auth)} {model.share} {_state(service, model)} {affinity.length if affinity else 0}"
    return f"{_hex(name)} {label} {service.name} {service.domains[0]} {prefix} {flags} {listed}"


def _state(service: ServiceRoute, model: PublishedModel) -> int:
    """1: it answers; 2: its requests are held until it does; 0: neither."""
    return 2 if service.held else int(model.ready)


def _hex(text: str) -> str:
    return text.encode("utf-8", "replace").hex()


def token_filter(tokens: tuple[TokenGrant, ...], services: tuple[ServiceRoute, ...]) -> Resource:
    return _token_filter(tokens, _model_lines(services))


@lru_cache(maxsize=4)
def _token_filter(tokens: tuple[TokenGrant, ...], models: tuple[str, ...]) -> Resource:
    lua = typed(
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": lua_source(tokens)},
        source_codes={
            # No route names it any more; those that an Envoy has from an older server do, until it has the new ones.
            _OPEN: {"inline_string": _with_grants(_OPEN_SOURCE, ())},
            _OPEN_USAGE: {"inline_string": _with_grants(_OPEN_USAGE_SOURCE, ())},
            _USAGE: {"inline_string": lua_source(tokens, counts_usage=True)},
            _MODELS: {"inline_string": _models_source(tokens, models)},
        },
        # No route depends on the header that is taken away here; choosing the route twice would cost 3 us. Where one
        # does (models.lua) it is said there.
        clear_route_cache=False,
    )
    return resource(ECDS, FILTER, {"name": FILTER, "typed_config": lua})
