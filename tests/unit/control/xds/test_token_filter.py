"""xds/token_filter: what the Lua sources say. What they do is tried with a real Envoy (tests/envoy)."""

import json

import pytest
from homeport_control.domain.gateway import PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds.token_filter import grant, lua_source, models_source

HASH = "ab" * 32


def test_a_grant_names_every_service_or_its_own_between_commas() -> None:
    assert grant(TokenGrant(HASH)) == "*"
    assert grant(TokenGrant(HASH, ("hello", "web"))) == ",hello,web,"


def test_the_source_holds_hashes_and_no_placeholder() -> None:
    source = lua_source((TokenGrant(HASH), TokenGrant("cd" * 32, ("hello",))))
    assert f"\n{HASH} *\n{'cd' * 32} ,hello,\n" in source
    assert "@GRANTS@" not in source
    assert "@SEAL@" not in source


@pytest.mark.parametrize(
    "name", ["llama", "org/qwen 2", "]]", "\n]]x", '"', "\\", "模型", "\ud800", "%1", "@GRANTS@", "@SEAL@"]
)
def test_whatever_a_model_is_called_its_line_is_one_line_that_ends_no_string(name: str) -> None:
    service = ServiceRoute("llm", ("llm.localhost",), True, (), PublishedModel(name, "/x@SEAL@", 5))
    source = models_source((TokenGrant(HASH),), (service, ServiceRoute("web", ("web.localhost",), True)))
    (line,) = [line for line in source.splitlines() if " llm llm.localhost " in line]
    assert "]]" not in line
    hex_name, _, _, _, prefix, is_open, entry = line.split(" ", 6)
    assert bytes.fromhex(hex_name).decode() == name.replace("\ud800", "?")
    assert (bytes.fromhex(prefix), is_open) == (b"/x@SEAL@", "0")
    listed = {"id": name, "object": "model", "created": 5, "owned_by": "homeport"}
    assert json.loads(entry) == listed
    assert f"\n{HASH} *\n" in source
