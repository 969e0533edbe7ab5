"""`gateway list`: what is ready, and why the rest is not."""

import json
from collections.abc import Callable

from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def test_a_gateway_is_a_row_and_one_that_is_not_ready_says_why(logged_in: FakeApi, homeport: Homeport) -> None:
    url = "http://NAME.localhost:7480"
    local = api_pb2.Gateway(name="local", domain="localhost", ready=True, host="box", example_url=url, message="fine")
    logged_in.answers["ListGateways"] = api_pb2.ListGatewaysResponse(gateways=[local])
    assert homeport("gateway", "list").stdout.splitlines() == [
        "NAME   DOMAIN     HOST  SERVICES                    STATUS",
        "local  localhost  box   http://NAME.localhost:7480  ready",
    ]
    local.ready, local.message = False, "port 7480 is taken"
    logged_in.answers["ListGateways"] = api_pb2.ListGatewaysResponse(gateways=[local])
    shown = homeport("gateway", "list").stdout
    assert "not ready" in shown
    assert shown.splitlines()[-1] == "local: port 7480 is taken"
    assert json.loads(homeport("gateway", "list", "--json").stdout)["gateways"][0]["ready"] is False
