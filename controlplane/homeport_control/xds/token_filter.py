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
from dataclasses import replace
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

_SERVICE_KEY = "service"  # in a route's metadata: what tokens.lua reads
_OPEN_KEY = "open"
_OPEN = "open"
_MODELS = "models"
SAID = "said"  # in a request's dynamic metadata: this filter has written the answer's body itself

_LUA = resources.files(__package__)
_GRANTS_SOURCE = _LUA.joinpath("sha256.lua").read_text() + _LUA.joinpath("grants.lua").read_text()
_SOURCE = _GRANTS_SOURCE + _LUA.joinpath("tokens.lua").read_text()
_MODELS_SOURCE = _GRANTS_SOURCE + _LUA.joinpath("json.lua").read_text() + _LUA.joinpath("models.lua").read_text()
_OPEN_SOURCE = f'function envoy_on_request(handle) handle:headers():remove("{SEAL_HEADER}") end'

_PER_ROUTE = "envoy.extensions.filters.http.lua.v3.LuaPerRoute"

# For a virtual host: who need not show a token, and where nothing leads to a replica.
OPEN: dict[str, Any] = {FILTER: typed(_PER_ROUTE, name=_OPEN)}
NOT_ASKED: dict[str, Any] = {FILTER: typed(_PER_ROUTE, disabled=True)}
BY_MODEL: dict[str, Any] = {FILTER: typed(_PER_ROUTE, name=_MODELS)}


def route_metadata(service: str, auth: bool) -> dict[str, Any]:
    """Every route to a service must carry it: tokens for named services are compared with it."""
    return {"filter_metadata": {FILTER: {_SERVICE_KEY: service} | ({} if auth else {_OPEN_KEY: True})}}


def grant(token: TokenGrant) -> str:
    """What a token is good for, as tokens.lua reads it."""
    return "," + ",".join(token.services) + "," if token.services else EVERY_SERVICE


def lua_source(tokens: tuple[TokenGrant, ...]) -> str:
    return _with_grants(_SOURCE, tokens)


def models_source(tokens: tuple[TokenGrant, ...], services: tuple[ServiceRoute, ...]) -> str:
    lines = "\n".join(sorted(_model_line(service, service.model) for service in services if service.model))
    return _with_grants(_MODELS_SOURCE.replace("@FILTER@", FILTER), tokens).replace("@MODELS@", lines)


def _with_grants(source: str, tokens: tuple[TokenGrant, ...]) -> str:
    # One string that is parsed at load: a table constructor of this size would meet LuaJIT's limit on constants.
    table = "\n".join(f"{token.token_sha256} {grant(token)}" for token in tokens)
    return source.replace("@SEAL@", SEAL_HEADER).replace("@GRANTS@", table)


def _model_line(service: ServiceRoute, model: PublishedModel) -> str:
    """What models.lua reads of one model. Anything may stand in a name: in hex, or as JSON that cannot end Lua's string."""
    entry = {"id": model.name, "object": "model", "created": model.created_at_s, "owned_by": "homeport"}
    texts = [model.name, json.dumps(model.name)[1:-1], model.prefix]
    name, label, prefix = (text.encode("utf-8", "replace").hex() for text in texts)
    listed = json.dumps(entry, separators=(",", ":")).replace("]", "\\u005d")
    return f"{name} {label} {service.name} {service.domains[0]} {prefix} {0 if service.auth else 1} {listed}"


def token_filter(tokens: tuple[TokenGrant, ...], services: tuple[ServiceRoute, ...]) -> Resource:
    # Without endpoints: they change often, and nothing here.
    return _token_filter(tokens, tuple(replace(service, endpoints=()) for service in services if service.model))


@lru_cache(maxsize=4)
def _token_filter(tokens: tuple[TokenGrant, ...], services: tuple[ServiceRoute, ...]) -> Resource:
    lua = typed(
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": lua_source(tokens)},
        source_codes={
            _OPEN: {"inline_string": _OPEN_SOURCE},
            _MODELS: {"inline_string": models_source(tokens, services)},
        },
        # No route depends on the header that is taken away here; choosing the route twice would cost 3 us. Where one
        # does (models.lua) it is said there.
        clear_route_cache=False,
    )
    return resource(ECDS, FILTER, {"name": FILTER, "typed_config": lua})
