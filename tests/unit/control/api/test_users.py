"""api/users: an admin's work; the last admin stays; what a deleted user had is of no use any more."""

import time

import grpc
import pytest
from fixtures.control import State
from fixtures.plane import Api, Plane, refusal
from homeport_control.api.users import first_admin, new_admin_token
from homeport_control.store import tokens, users
from homeport_control.trust.tokens import sha256_hex
from homeport_protos.api.v1 import api_pb2

ABORTED = grpc.StatusCode.ABORTED


def new(name: str = "ann", role: str = "", **fields: float) -> api_pb2.CreateUserRequest:
    return api_pb2.CreateUserRequest(name=name, role=role, **fields)


async def listed(api: Api) -> dict[str, api_pb2.User]:
    return {user.name: user for user in (await api("ListUsers", api_pb2.ListUsersRequest())).users}


async def test_a_user_comes_with_a_token_that_works(plane: Plane, admin: Api) -> None:
    made = await admin("CreateUser", new(ttl_s=60))
    assert (made.user.name, made.user.role, made.user.tokens) == ("ann", "user", 1)
    async with plane.api(made.token) as ann:
        answer = await ann("GetServer", api_pb2.GetServerRequest())
        assert (answer.user, answer.role) == ("ann", "user")
        (token,) = (await ann("ListTokens", api_pb2.ListTokensRequest())).tokens
    assert (token.user, abs(token.expires_at.seconds - time.time() - 60) < 5) == ("ann", True)
    assert (await listed(admin))["ann"].tokens == 1


async def test_a_deleted_users_tokens_are_revoked_in_the_same_moment(state: State, plane: Plane, admin: Api) -> None:
    made = await admin("CreateUser", new())
    async with plane.api(made.token) as ann:
        service = await ann("CreateToken", api_pb2.CreateTokenRequest(name="ci", role="service"))
        assert (await admin("DeleteUser", api_pb2.DeleteUserRequest(name="ann"))).tokens_revoked == 2
        code, words = await refusal(ann("ListRuns", api_pb2.ListRunsRequest()))
    assert (code, "was revoked" in words) == (grpc.StatusCode.UNAUTHENTICATED, True)
    async with state.database.read() as connection:
        grants, _ = await tokens.grants(connection, time.time())
    assert sha256_hex(service.token) not in {grant.token_sha256 for grant in grants}
    assert "ann" not in await listed(admin)
    assert (await admin("CreateUser", new())).token != made.token


async def test_the_last_admin_cannot_be_deleted(admin: Api) -> None:
    me = (await admin("GetServer", api_pb2.GetServerRequest())).user
    code, words = await refusal(admin("DeleteUser", api_pb2.DeleteUserRequest(name=me)))
    assert (code, "is the last admin" in words) == (ABORTED, True)
    await admin("CreateUser", new("root", "admin"))
    await admin("RevokeToken", api_pb2.RevokeTokenRequest(id="root"))
    code, words = await refusal(admin("DeleteUser", api_pb2.DeleteUserRequest(name=me)))
    assert (code, "the last valid token of an admin" in words) == (ABORTED, True), "root has no way in"
    await admin("CreateToken", api_pb2.CreateTokenRequest(name="again", role="admin", user="root"))
    await admin("DeleteUser", api_pb2.DeleteUserRequest(name=me))


async def test_users_are_an_admins_work(user: Api) -> None:
    for method, request in (("CreateUser", new()), ("DeleteUser", api_pb2.DeleteUserRequest(name="x"))):
        code, words = await refusal(user(method, request))
        assert (code, "only an admin may" in words) == (grpc.StatusCode.PERMISSION_DENIED, True)


@pytest.mark.parametrize(
    ("request_", "code", "word"),
    [
        (new(""), grpc.StatusCode.INVALID_ARGUMENT, "begins with a small letter"),
        (new("Ann"), grpc.StatusCode.INVALID_ARGUMENT, "begins with a small letter"),
        (new("ann\n"), grpc.StatusCode.INVALID_ARGUMENT, "begins with a small letter"),
        (new("ann", "service"), grpc.StatusCode.INVALID_ARGUMENT, "no role service"),
        (new("ann", ttl_s=-1), grpc.StatusCode.INVALID_ARGUMENT, "negative"),
    ],
)
async def test_what_is_wrong_with_a_user_is_one_line(
    admin: Api, request_: api_pb2.CreateUserRequest, code: grpc.StatusCode, word: str
) -> None:
    found, words = await refusal(admin("CreateUser", request_))
    assert (found, word in words) == (code, True), words
    assert "ann" not in await listed(admin)


async def test_a_name_is_taken_once(admin: Api) -> None:
    await admin("CreateUser", new())
    code, words = await refusal(admin("CreateUser", new()))
    assert (code, "exists already" in words) == (ABORTED, True)
    code, _ = await refusal(admin("DeleteUser", api_pb2.DeleteUserRequest(name="nobody")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_who_owns_the_machine_gets_in_again(state: State, plane: Plane) -> None:
    """All admin tokens were lost; and even when there is no admin left, and `admin` is the name of somebody else."""
    async with state.database.write() as write:
        await users.delete(write, (await users.list_all(write.connection))[0].name)
        await users.insert(write, users.UserRecord("admin", "user", 1.0))
    plain = await new_admin_token(state.database)
    async with plane.api(plain) as api:
        answer = await api("GetServer", api_pb2.GetServerRequest())
    assert (answer.user, answer.role) == ("admin-2", "admin")
    assert await new_admin_token(state.database) != plain


async def test_the_first_admin_is_admin(state: State, plane: Plane) -> None:
    async with state.database.write() as write:
        plain = await first_admin(write, time.time())
    async with plane.api(plain) as api:
        answer = await api("GetServer", api_pb2.GetServerRequest())
    assert (answer.user, answer.role) == ("admin", "admin")
