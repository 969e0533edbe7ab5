"""The token filter: hashes of tokens in, one Lua filter out, delivered by ECDS.

Why here and not in the routes: a token that is made or revoked changes this one small resource and nothing else,
however many services there are; the routes only say which grant they want. Connections and streams are not touched.
Does not cover who may call what per service (virtual_hosts: RBAC, which refuses whatever has no grant).
"""

from functools import lru_cache
from importlib import resources

from homeport_control.domain.gateway import TokenGrant
from homeport_control.xds.subscription import ECDS, Resource
from homeport_control.xds.wire import resource, typed

FILTER = "homeport.token"
GRANT_HEADER = "x-homeport-grant"  # never from a client: the listener strips it before any filter runs
EVERY_SERVICE = "*"

_LUA = resources.files(__package__)
_SOURCE = _LUA.joinpath("sha256.lua").read_text() + _LUA.joinpath("tokens.lua").read_text()


def grant(token: TokenGrant) -> str:
    """What the grant header says for this token; virtual_hosts looks for the service's name in it."""
    return "," + ",".join(token.services) + "," if token.services else EVERY_SERVICE


@lru_cache(maxsize=4)
def token_filter(tokens: tuple[TokenGrant, ...]) -> Resource:
    # One string that is parsed at load: a table constructor of this size would meet LuaJIT's limit on constants.
    table = "\n".join(f"{token.token_sha256} {grant(token)}" for token in tokens)
    source = _SOURCE.replace("@HEADER@", GRANT_HEADER).replace("@GRANTS@", table)
    lua = typed(
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": source},
        # No route depends on the header that is set here; choosing the route twice would cost 3 us.
        clear_route_cache=False,
    )
    return resource(ECDS, FILTER, {"name": FILTER, "typed_config": lua})
