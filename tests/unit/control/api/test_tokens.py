"""api/tokens: who may make and revoke which, what is shown once, and what leaves the gateway."""

import time
from typing import Any

import grpc
import pytest
from fixtures.control import State, add_run, add_token
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
        answer = await bob("GetServer", api_pb2.GetServerRequest())
    me = (await admin("GetServer", api_pb2.GetServerRequest())).user
    assert (answer.user, answer.role) == (me, "user"), "a token of the same user, with the smaller role"


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


async def test_a_user_makes_sees_and_revokes_only_tokens_of_its_own(admin: Api, user: Api) -> None:
    me = (await user("GetServer", api_pb2.GetServerRequest())).user
    for request in (create("x", "admin"), create("x", "user", user="somebody")):
        code, words = await refusal(user("CreateToken", request))
        assert code is DENIED
        assert "only an admin may make tokens" in words
    for name, role in (("mine", "service"), ("laptop", "")):
        made = (await user("CreateToken", create(name, role))).description
        assert (made.user, made.role) == (me, role or "user")
    theirs = (await admin("CreateToken", create("laptop", "user"))).description
    listed = await user("ListTokens", api_pb2.ListTokensRequest())
    assert {token.name for token in listed.tokens} == {me, "mine", "laptop"}
    assert {token.user for token in listed.tokens} == {me}
    for asked in ("nobody", theirs.id):
        code, _ = await refusal(user("RevokeToken", api_pb2.RevokeTokenRequest(id=asked)))
        assert code is grpc.StatusCode.NOT_FOUND
    await user("RevokeToken", api_pb2.RevokeTokenRequest(id="laptop"))
    listed = await admin("ListTokens", api_pb2.ListTokensRequest())
    valid = {(token.user, token.name) for token in listed.tokens if not token.HasField("revoked_at")}
    assert (me, "laptop") not in valid
    assert (theirs.user, "laptop") in valid, "an admin sees the tokens of all, and this one is still there"
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


async def test_the_last_token_of_an_admin_is_kept(state: State, plane: Plane, admin: Api) -> None:
    await admin("CreateToken", create("weak", "user"))
    await admin("CreateToken", create("old", "admin", ttl_s=0.001))
    me = (await admin("GetServer", api_pb2.GetServerRequest())).user
    code, words = await refusal(admin("RevokeToken", api_pb2.RevokeTokenRequest(id=me)))
    assert (code, "the last valid token of an admin" in words) == (grpc.StatusCode.ABORTED, True)
    second = await admin("CreateToken", create("second", "admin"))
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id=me))
    async with plane.api(second.token) as again:
        code, _ = await refusal(again("RevokeToken", api_pb2.RevokeTokenRequest(id="second")))
    assert code is grpc.StatusCode.ABORTED


async def test_an_admin_makes_tokens_for_others_but_not_admins_of_them(plane: Plane, admin: Api, user: Api) -> None:
    them = (await user("GetServer", api_pb2.GetServerRequest())).user
    made = await admin("CreateToken", create("ci", "user", user=them))
    async with plane.api(made.token) as api:
        assert (await api("GetServer", api_pb2.GetServerRequest())).user == them
    code, words = await refusal(admin("CreateToken", create("x", "admin", user=them)))
    assert (code, "is not an admin" in words) == (grpc.StatusCode.ABORTED, True)
    code, words = await refusal(admin("CreateToken", create("x", "user", user="nobody")))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no user nobody; `homeport user list` shows them")


async def test_of_several_tokens_of_a_name_an_admin_must_say_which(state: State, admin: Api) -> None:
    ids = []
    for plain in ("hp_ann", "hp_bob"):
        owner = await add_token(state, plain, "user")
        ids.append((await admin("CreateToken", create("laptop", user=owner))).description.id)
    code, words = await refusal(admin("RevokeToken", api_pb2.RevokeTokenRequest(id="laptop")))
    assert code is grpc.StatusCode.ABORTED
    assert all(token_id in words for token_id in ids)
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id=ids[0]))
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id="laptop"))
    listed = await admin("ListTokens", api_pb2.ListTokensRequest())
    assert all(token.HasField("revoked_at") for token in listed.tokens if token.id in ids)


async def test_a_token_that_expires_makes_none_that_lasts_longer(state: State, plane: Plane) -> None:
    ends_at_s = time.time() + 100
    await add_token(state, "hp_short", "user", expires_at_s=ends_at_s)
    async with plane.api("hp_short") as api:
        for ttl_s, expected_s in ((0, ends_at_s), (1000, ends_at_s), (10, time.time() + 10)):
            made = await api("CreateToken", create(f"t{ttl_s}", "user", ttl_s=ttl_s))
            assert abs(made.description.expires_at.seconds - expected_s) < 3
