"""xds/token_filter: what the Lua source says. What it does is tried with a real Envoy (tests/envoy/test_auth.py)."""

from homeport_control.domain.gateway import TokenGrant
from homeport_control.xds.token_filter import grant, lua_source

HASH = "ab" * 32


def test_a_grant_names_every_service_or_its_own_between_commas() -> None:
    assert grant(TokenGrant(HASH)) == "*"
    assert grant(TokenGrant(HASH, ("hello", "web"))) == ",hello,web,"


def test_the_source_holds_hashes_and_no_placeholder() -> None:
    source = lua_source((TokenGrant(HASH), TokenGrant("cd" * 32, ("hello",))))
    assert f"\n{HASH} *\n{'cd' * 32} ,hello,\n" in source
    assert "@GRANTS@" not in source
    assert "@SEAL@" not in source
