import json
from collections.abc import Callable

import grpc
import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def test_a_new_users_token_stands_alone_on_stdout(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["CreateUser"] = api_pb2.CreateUserResponse(token="hp_new")
    done = homeport("user", "create", "ann", "--role", "admin", "--expires", "30d")
    assert (done.exit_code, done.stdout) == (0, "hp_new\n")
    assert "not shown again" in done.stderr
    homeport("user", "create", "ben")
    assert logged_in.requests("CreateUser") == [
        api_pb2.CreateUserRequest(name="ann", role="admin", ttl_s=30 * 86400),
        api_pb2.CreateUserRequest(name="ben", role="user"),
    ]


def test_users_are_listed(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListUsers"] = api_pb2.ListUsersResponse(users=[api_pb2.User(name="ann", role="admin", tokens=2)])
    head, row = homeport("user", "list").stdout.splitlines()
    assert head.split() == ["NAME", "ROLE", "TOKENS", "CREATED"]
    assert row.split() == ["ann", "admin", "2"]
    assert json.loads(homeport("user", "list", "--json").stdout)["users"][0]["name"] == "ann"


def test_delete_says_what_went_with_the_user(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["DeleteUser"] = api_pb2.DeleteUserResponse(tokens_revoked=3)
    done = homeport("user", "delete", "ann")
    assert (done.exit_code, done.stderr) == (0, "Deleted ann; revoked 3 of its tokens\n")
    logged_in.answers["DeleteUser"] = (grpc.StatusCode.ABORTED, "ann is the last admin; make another first")
    done = homeport("user", "delete", "ann")
    assert (done.exit_code, done.stderr) == (1, "Error: ann is the last admin; make another first\n")


@pytest.mark.parametrize("flags", [["--role", "service"], ["--expires", "soon"]])
def test_flags_that_make_no_sense_are_usage_and_nothing_is_made(
    logged_in: FakeApi, homeport: Homeport, flags: list[str]
) -> None:
    assert homeport("user", "create", "x", *flags).exit_code == 2
    assert logged_in.asked == []
