"""xds/token_filter: what the Lua sources say. What they do is tried with a real Envoy (tests/envoy)."""

import json

import pytest
from homeport_control.domain.gateway import PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds.token_filter import (
    BY_MODEL,
    FILTER,
    NOT_ASKED,
    SEAL_FILTER,
    SEAL_HEADER,
    door,
    grant,
    lua_source,
    models_source,
)

HASH = "ab" * 32


def test_a_grant_names_every_service_or_its_own_between_commas() -> None:
    assert grant(TokenGrant(HASH)) == "- *"
    assert grant(TokenGrant(HASH, ("hello", "web"), "3f9a1c")) == "3f9a1c ,hello,web,"


def test_the_source_holds_hashes_and_no_placeholder() -> None:
    for counts_usage in (False, True):
        source = lua_source((TokenGrant(HASH, (), "t1"), TokenGrant("cd" * 32, ("hello",))), counts_usage=counts_usage)
        assert f"\n{HASH} t1 *\n{'cd' * 32} - ,hello,\n" in source
        for placeholder in ("@GRANTS@", "@SEAL@", "@FILTER@"):
            assert placeholder not in source
        assert ("envoy_on_response" in source) is counts_usage


@pytest.mark.parametrize(
    "name", ["llama", "org/qwen 2", "]]", "\n]]x", '"', "\\", "模型", "\ud800", "%1", "@GRANTS@", "@SEAL@"]
)
def test_whatever_a_model_is_called_its_line_is_one_line_that_ends_no_string(name: str) -> None:
    service = ServiceRoute("llm", ("llm.localhost",), True, (), PublishedModel(name, "/x@SEAL@", 5))
    source = models_source((TokenGrant(HASH),), (service, ServiceRoute("web", ("web.localhost",), True)))
    (line,) = [line for line in source.splitlines() if " llm llm.localhost " in line]
    assert "]]" not in line
    hex_name, _, _, _, prefix, is_open, weight, is_ready, together, entry = line.split(" ", 9)
    assert bytes.fromhex(hex_name).decode() == name.replace("\ud800", "?")
    assert (bytes.fromhex(prefix), is_open, weight, is_ready, together) == (b"/x@SEAL@", "0", "100", "1", "0")
    listed = {"id": name, "object": "model", "created": 5, "owned_by": "homeport"}
    assert json.loads(entry) == listed
    assert f"\n{HASH} - *\n" in source


def test_each_name_of_a_model_has_a_line_and_the_oldest_service_comes_first() -> None:
    new = PublishedModel("llama", created_at_s=9, aliases=("big", "best"), weight=10, ready=False)
    services = (
        ServiceRoute("canary", ("canary.localhost",), False, (), new),
        ServiceRoute("llm", ("llm.localhost",), True, (), PublishedModel("llama", created_at_s=5)),
    )
    source = models_source((), services)
    lines = [line.split(" ") for line in source.splitlines() if ".localhost " in line]
    found = [(bytes.fromhex(words[0]).decode(), words[2], *words[5:8]) for words in lines]
    assert found == [
        ("best", "canary", "1", "10", "0"),
        ("big", "canary", "1", "10", "0"),
        ("llama", "llm", "0", "100", "1"),
        ("llama", "canary", "1", "10", "0"),
    ]


def test_what_an_answer_used_is_read_only_where_a_model_answers() -> None:
    assert door(auth=True, has_prompts=False) == {}
    names = [door(auth=a, has_prompts=True)["homeport.token"]["name"] for a in (True, False)]
    assert names == ["usage", "open, usage"]


def test_only_a_service_without_a_token_has_its_seal_taken_away_without_lua() -> None:
    opened = door(auth=False, has_prompts=False)
    assert opened[FILTER]["disabled"]
    assert opened[SEAL_FILTER]["mutations"] == {"request_mutations": [{"remove": SEAL_HEADER}]}
    others = [door(auth=a, has_prompts=p) for a, p in ((True, False), (True, True), (False, True))] + [
        BY_MODEL,
        NOT_ASKED,
    ]
    assert not [it for it in others if SEAL_FILTER in it]
