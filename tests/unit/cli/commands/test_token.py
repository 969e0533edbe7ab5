from collections.abc import Callable

import grpc
import pytest
from fakes.api import FakeApi
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def test_a_new_token_stands_alone_on_stdout(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["CreateToken"] = api_pb2.CreateTokenResponse(token="hp_new")
    done = homeport("token", "create", "ci", "--role", "service", "--service", "a", "--service", "b", "--ttl", "30d")
    assert (done.exit_code, done.stdout) == (0, "hp_new\n")
    assert "not shown again" in done.stderr
    assert logged_in.requests("CreateToken") == [
        api_pb2.CreateTokenRequest(name="ci", role="service", services=["a", "b"], ttl_s=30 * 86400)
    ]


def test_a_token_is_a_users_and_valid_for_ever_when_nothing_else_is_said(
    logged_in: FakeApi, homeport: Homeport
) -> None:
    logged_in.answers["CreateToken"] = api_pb2.CreateTokenResponse(token="hp_new")
    homeport("token", "create", "ann")
    assert logged_in.requests("CreateToken") == [api_pb2.CreateTokenRequest(name="ann", role="user")]


@pytest.mark.parametrize("flags", [["--role", "king"], ["--service", "web"], ["--ttl", "soon"]])
def test_flags_that_make_no_sense_are_usage_and_nothing_is_made(
    logged_in: FakeApi, homeport: Homeport, flags: list[str]
) -> None:
    assert homeport("token", "create", "x", *flags).exit_code == 2
    assert logged_in.asked == []


def test_revoke_names_the_token(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["RevokeToken"] = api_pb2.RevokeTokenResponse()
    assert homeport("token", "revoke", "ci").exit_code == 0
    assert logged_in.requests("RevokeToken") == [api_pb2.RevokeTokenRequest(id="ci")]


def test_what_the_role_may_not_do_is_the_servers_line(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["CreateToken"] = (grpc.StatusCode.PERMISSION_DENIED, "only an admin may make tokens")
    done = homeport("token", "create", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "Error: only an admin may make tokens\n")


def test_the_join_line_stands_alone_on_stdout_with_the_token_in_it(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["CreateJoinToken"] = api_pb2.CreateJoinTokenResponse(
        token="hpj_x_y",
        expires_at=Timestamp(seconds=4_000_000_000),
        joining=api_pb2.Joining(web_port=7402, public_key_pin="pin"),
    )
    done = homeport("fleet", "join-command", "lab", "--ttl", "2h", "--one-use", "--server", "box")
    assert done.stdout.startswith("curl -fsSLk --pinnedpubkey sha256//pin https://box:7402/install.sh | sudo sh -s -- ")
    assert done.stdout.endswith(" --server box:7400 --join hpj_x_y\n")
    assert "expires in" in done.stderr
    assert logged_in.requests("CreateJoinToken") == [
        api_pb2.CreateJoinTokenRequest(fleet="lab", ttl_s=7200, one_use=True)
    ]
