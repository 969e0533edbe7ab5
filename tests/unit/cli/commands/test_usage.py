import json
from collections.abc import Callable

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
ROW = api_pb2.UsageRow(token_id="3f9a", token_name="ci", service="llm", requests=12)


def test_what_is_asked_is_what_the_flags_say(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Usage"] = api_pb2.UsageResponse(rows=[ROW], total=ROW)
    done = homeport("usage")
    assert (done.exit_code, done.stdout.split()[:3]) == (0, ["TOKEN", "SERVICE", "MODEL"]), done.stderr
    homeport("usage", "--since", "1d", "--by", "user,day", "--by", "user")
    assert logged_in.requests("Usage") == [
        api_pb2.UsageRequest(by=["token", "service", "model"]),
        api_pb2.UsageRequest(by=["user", "day"], since_s=86400),
    ]


def test_json_is_the_apis_own_object(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Usage"] = api_pb2.UsageResponse(rows=[ROW], total=ROW)
    told = json.loads(homeport("usage", "--json").stdout)
    assert (told["rows"][0]["token_name"], told["total"]["requests"]) == ("ci", "12")


@pytest.mark.parametrize("by", ["colour", "token,", "hour,day"])
def test_what_cannot_be_told_apart_is_a_usage_error(logged_in: FakeApi, homeport: Homeport, by: str) -> None:
    done = homeport("usage", "--by", by)
    assert (done.exit_code, logged_in.requests("Usage")) == (2, [])
