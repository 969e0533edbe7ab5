"""api/tokens: who may make and revoke which, what is shown once, and what leaves the gateway."""

import time
from typing import Any

import grpc
import pytest
from fixtures.control import State, add_run
from fixtures.plane import Api, Plane, refusal
from homeport_control.decide.routes import ServiceInput, problems, snapshot
from homeport_control.domain.gateway import Gateway
from homeport_control.store import tokens
from homeport_control.trust.tokens import sha256_hex
from homeport_protos.api.v1 import api_pb2

DENIED, BAD = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT


def create(name: str = "ci", role: str = "service", **fields: Any) -> api_pb2.CreateTokenRequest:
    return api_pb2.CreateTokenRequest(name=name, role=role, **fields)


async def granted(state: State) -> dict[str, tuple[str, ...]]:
    async with state.database.read() as connection:
        grants, _ = await tokens.grants(connection, time.time())
    return {grant.token_sha256: grant.services for grant in grants}


async def test_a_token_is_shown_once_and_works(state: State, plane: Plane, admin: Api) -> None:
    made = await admin("CreateToken", create("bob", "user"))
    assert made.token.startswith("hp_")
    listed = await admin("ListTokens", api_pb2.ListTokensRequest())
    assert [token.name for token in listed.tokens if token.id == made.description.id] == ["bob"]
    assert made.token not in str(listed)
    assert sha256_hex(made.token) not in str(listed)
    async with plane.api(made.token) as bob:
        assert (await bob("GetServer", api_pb2.GetServerRequest())).user == "bob"


async def test_a_revoked_token_calls_nothing_and_leaves_the_gateway(state: State, plane: Plane, admin: Api) -> None:
    made = await admin("CreateToken", create("bob", "user"))
    hello = await admin("CreateToken", create("only-hello", services=["hello", "aa"]))
    found = await granted(state)
    assert (found[sha256_hex(made.token)], found[sha256_hex(hello.token)]) == ((), ("aa", "hello"))
    with state.database.changes.subscribe("tokens") as woken:
        await admin("RevokeToken", api_pb2.RevokeTokenRequest(id="bob"))
        assert await woken.wait(0), "the gateway's loop is woken"
    assert sha256_hex(made.token) not in await granted(state)
    async with plane.api(made.token) as bob:
        code, words = await refusal(bob("ListRuns", api_pb2.ListRunsRequest()))
    assert (code, "was revoked" in words) == (grpc.StatusCode.UNAUTHENTICATED, True)
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id=hello.description.id))
    assert sha256_hex(hello.token) not in await granted(state)


async def test_a_user_makes_and_revokes_only_tokens_for_services(admin: Api, user: Api) -> None:
    for role in ("admin", "user", ""):
        code, words = await refusal(user("CreateToken", create("x", role)))
        assert code is DENIED
        assert "only an admin may" in words
    assert (await user("CreateToken", create("mine"))).token
    await user("RevokeToken", api_pb2.RevokeTokenRequest(id="mine"))
    await admin("CreateToken", create("bob", "user"))
    code, _ = await refusal(user("RevokeToken", api_pb2.RevokeTokenRequest(id="bob")))
    assert code is DENIED
    code, words = await refusal(user("CreateJoinToken", api_pb2.CreateJoinTokenRequest()))
    assert (code, words) == (DENIED, "only an admin may let hosts join; your token's role is user")


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (create("", "service"), "needs a name"),
        (create("two\nlines"), "one line"),
        (create("x" * 101), "one line of at most 100"),
        (create("x", "owner"), "no role owner"),
        (create("x", "user", services=["hello"]), "only a token of the role service"),
        (create("x", services=["Bad_Name"]), "`Bad_Name` cannot be a name"),
        (create("x", services=["hello", ""]), "cannot be a name"),
        (create("x", ttl_s=-1), "negative or too long"),
        (create("x", ttl_s=float("inf")), "negative or too long"),
        (create("x", ttl_s=float("nan")), "negative or too long"),
    ],
)
async def test_what_is_wrong_with_a_token_is_one_line(
    state: State, admin: Api, request_: api_pb2.CreateTokenRequest, word: str
) -> None:
    before = await granted(state)
    code, words = await refusal(admin("CreateToken", request_))
    assert code is BAD
    assert word in words
    assert await granted(state) == before


async def test_no_token_that_can_be_made_stops_the_gateways_configuration(state: State, user: Api) -> None:
    await add_run(state)
    await user("CreateToken", create("x", services=["a1", "x" * 41, "hello"]))
    async with state.database.read() as connection:
        grants, _ = await tokens.grants(connection, time.time())
    services: list[ServiceInput] = []
    assert problems(snapshot(Gateway("local", "h1", "127.0.0.1", 7480, "localhost"), services, grants)) == ()


async def test_a_name_is_taken_until_its_token_is_revoked(admin: Api) -> None:
    await admin("CreateToken", create("ci"))
    code, words = await refusal(admin("CreateToken", create("ci")))
    assert (code, "exists already" in words) == (grpc.StatusCode.ABORTED, True)
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id="ci"))
    assert (await admin("CreateToken", create("ci"))).token


async def test_an_unknown_token_cannot_be_revoked(admin: Api) -> None:
    code, words = await refusal(admin("RevokeToken", api_pb2.RevokeTokenRequest(id="nobody")))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no token nobody; `homeport token list` shows them")


async def test_a_token_with_a_time_to_live_says_when_it_ends(admin: Api) -> None:
    made = (await admin("CreateToken", create("short", ttl_s=60))).description
    assert abs(made.expires_at.seconds - time.time() - 60) < 5
    assert not (await admin("CreateToken", create("long"))).description.HasField("expires_at")


async def test_a_join_token_carries_the_pin_and_lets_a_host_in(plane: Plane, admin: Api) -> None:
    made = await admin("CreateJoinToken", api_pb2.CreateJoinTokenRequest(fleet="lab", one_use=True))
    assert made.token.startswith(f"hpj_{plane.state.ca.sha256}_")
    assert abs(made.expires_at.seconds - time.time() - 3600) < 5
    assert (await plane.joined("box", made.token)).host_id
    listed = await admin("ListTokens", api_pb2.ListTokensRequest())
    assert all(token.role != "join" for token in listed.tokens)
    code, _ = await refusal(admin("CreateJoinToken", api_pb2.CreateJoinTokenRequest(ttl_s=-5)))
    assert code is BAD
