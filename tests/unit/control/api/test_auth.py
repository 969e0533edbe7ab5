"""api/auth and api/errors: every method asks who calls; each refusal is a status and one line."""

import time
from typing import Any

import grpc
import pytest
from fixtures.control import State, add_run, add_token
from fixtures.plane import Plane, called, refusal
from homeport_control.api.errors import code_of
from homeport_control.domain.errors import BadRequest, Conflict, Denied, HomeportError, NotFound, NotReady
from homeport_control.store import tokens
from homeport_control.trust.tokens import new_join_token
from homeport_protos.api.v1 import api_pb2

METHODS = [(method.name, method) for method in api_pb2.DESCRIPTOR.services_by_name["Api"].methods]
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[name for name, _ in METHODS])
async def test_every_method_needs_a_token(plane: Plane, name: str, method: Any) -> None:
    code, words = await refusal(called(plane, method, ""))
    assert (code, words) == (UNAUTHENTICATED, "no token was sent; run `homeport login`"), name
    code, words = await refusal(called(plane, method, "hp_wrong"))
    assert code is UNAUTHENTICATED
    assert "not known here" in words


async def test_tokens_that_may_not_call_the_api_are_told_why(plane: Plane, state: State) -> None:
    await add_token(state, "hp_expired", "admin", expires_at_s=time.time() - 90)
    await add_token(state, "hp_service", "service")
    await add_token(state, "hp_metrics", "metrics")
    revoked = await add_token(state, "hp_revoked", "admin")
    async with state.database.write() as write:
        await tokens.revoke(write, revoked, time.time())
    join = new_join_token(state.ca.sha256)
    await add_token(state, join, "join")
    method = dict(METHODS)["ListRuns"]
    for token, code, word in (
        ("hp_expired", UNAUTHENTICATED, "expired 9"),
        ("hp_revoked", UNAUTHENTICATED, "was revoked"),
        ("hp_service", DENIED, "may only call services"),
        ("hp_metrics", DENIED, "may only read /metrics"),
        (join, UNAUTHENTICATED, "not known here"),
    ):
        found, words = await refusal(called(plane, method, token))
        assert found is code, words
        assert word in words
        assert token not in words


async def test_a_scheme_that_is_not_bearer_is_no_token(plane: Plane) -> None:
    async with plane.api() as api:
        for value in ("hp_admin", "Basic hp_admin", "Bearer", "Bearer "):
            call = api.stub.ListRuns(
                api_pb2.ListRunsRequest(), metadata=(("authorization", value.strip()),), timeout=10
            )
            code, _ = await refusal(call)
            assert code is UNAUTHENTICATED, value
        answer = await api.stub.ListRuns(
            api_pb2.ListRunsRequest(), metadata=(("authorization", "bearer hp_admin"),), timeout=10
        )
    assert list(answer.runs) == []


async def test_a_token_does_not_travel_without_tls(plane: Plane) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.settings.api_port}") as channel:
        call = channel.unary_unary("/homeport_protos.api.v1.Api/ListRuns")
        code, _ = await refusal(call(b"", timeout=10))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_each_kind_of_error_has_its_status() -> None:
    kinds = [BadRequest, Denied, NotFound, Conflict, NotReady, HomeportError]
    assert [code_of(kind("")).name for kind in kinds] == [
        "INVALID_ARGUMENT", "PERMISSION_DENIED", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION", "FAILED_PRECONDITION",
    ]  # fmt: skip


async def test_the_role_is_the_smaller_one_of_the_tokens_and_its_users(plane: Plane, state: State) -> None:
    boss, clerk = await add_token(state, "hp_boss", "admin"), await add_token(state, "hp_clerk", "user")
    await add_token(state, "hp_boss_small", "user", user=boss)
    await add_token(state, "hp_clerk_big", "admin", user=clerk)
    await add_token(state, "hp_orphan", "admin", user="gone")
    found = {}
    for token in ("hp_boss", "hp_boss_small", "hp_clerk_big"):
        async with plane.api(token) as api:
            answer = await api("GetServer", api_pb2.GetServerRequest())
            found[token] = (answer.user, answer.role)
    assert found == {"hp_boss": (boss, "admin"), "hp_boss_small": (boss, "user"), "hp_clerk_big": (clerk, "user")}
    code, words = await refusal(called(plane, dict(METHODS)["ListRuns"], "hp_orphan"))
    assert (code, "the user gone" in words) == (UNAUTHENTICATED, True)


@pytest.mark.parametrize("name", ["WatchRuns", "Events"])
async def test_a_stream_ends_when_its_token_is_revoked(plane: Plane, state: State, name: str) -> None:
    token_id = await add_token(state, "hp_watcher", "user")
    requests = {"WatchRuns": api_pb2.ListRunsRequest(), "Events": api_pb2.EventsRequest(follow=True)}
    async with plane.api("hp_watcher") as api:
        watching = api.stream(name, requests[name])
        await watching.read()
        async with state.database.write() as write:
            await tokens.revoke(write, token_id, time.time())

        async def to_the_end() -> None:
            while await watching.read() is not grpc.aio.EOF:
                pass

        code, words = await refusal(to_the_end())
    assert (code, "was revoked" in words) == (UNAUTHENTICATED, True)


async def test_a_stream_goes_on_when_other_tokens_change(plane: Plane, state: State) -> None:
    async with plane.api("hp_admin") as api:
        watching = api.stream("WatchRuns", api_pb2.ListRunsRequest())
        await watching.read()
        other = await add_token(state, "hp_other", "user")
        async with state.database.write() as write:
            await tokens.revoke(write, other, time.time())
        await add_run(state, "later")
        answer = await watching.read()
        assert [run.name for run in answer.runs] == ["later"]
