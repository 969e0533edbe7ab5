"""fleets/gateways: what is asked and said around a machine over SSH. Installing one: tests/hosts/test_ssh_gateway.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
NOBODY = api_pb2.Place(hostname="127.0.0.1", port=1, user="ops")  # nothing listens there


def machine(action: str, host: str = "") -> api_pb2.FleetHost:
    return api_pb2.FleetHost(place=NOBODY, action=action, reason="why", host=host)


def planned(action: str, *machines: api_pb2.FleetHost) -> api_pb2.PlanGatewayResponse:
    return api_pb2.PlanGatewayResponse(name="main", action=action, machines=machines, plan_token="t1")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "gateway.homeport.yml"
    path.write_text("type: gateway\nname: main\ndomain: example.com\ncertificate: null\nhost: ops@127.0.0.1:1\n")
    return str(path)


def test_where_machines_cannot_reach_the_server_nothing_is_applied(
    logged_in: FakeApi, homeport: Homeport, file: str
) -> None:
    logged_in.answers["PlanGateway"] = planned("create", machine("new"))
    done = homeport("apply", "-y", "-f", file)
    assert done.exit_code == 2
    assert "hosts cannot reach the server as 127.0.0.1" in done.stderr
    assert [method for method, _ in logged_in.asked] == ["PlanGateway"]


def test_one_that_is_in_order_is_left_alone(logged_in: FakeApi, homeport: Homeport, file: str) -> None:
    logged_in.answers["PlanGateway"] = planned("unchanged", machine("unchanged", "edge-1"))
    assert "nothing to do" in homeport("apply", "-y", "-f", file).stderr


def test_a_machine_that_it_has_left_is_taken_out_when_it_is_ready(
    logged_in: FakeApi, homeport: Homeport, file: str
) -> None:
    ready = api_pb2.Gateway(name="main", ready=True, example_url="http://NAME.example.com")
    logged_in.answers |= {
        "PlanGateway": planned("update", machine("gone", "edge-1"), machine("gone")),
        "ApplyGateway": api_pb2.ApplyGatewayResponse(name="main", action="update"),
        "WatchGateways": [api_pb2.ListGatewaysResponse(gateways=[ready])],
        "DeleteHost": api_pb2.DeleteHostResponse(sentence="host edge-1 is removed"),
    }
    done = homeport("apply", "-y", "-f", file)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "Gateway main is ready: services are published at http://NAME.example.com\n"
    assert "host edge-1 is removed" in done.stderr
    assert [method for method, _ in logged_in.asked][1:] == ["ApplyGateway", "WatchGateways", "DeleteHost"]


def test_deleted_it_takes_its_machine_along_and_says_what_stays_where_it_is_not_reached(
    logged_in: FakeApi, homeport: Homeport, file: str
) -> None:
    logged_in.answers["DeleteGateway"] = api_pb2.GatewayAnswer(
        sentence="gateway main is deleted", gone=[machine("gone", "edge-1")]
    )
    logged_in.answers["DeleteHost"] = api_pb2.DeleteHostResponse(sentence="host edge-1 is removed")
    done = homeport("delete", "-y", "-f", file)
    assert (done.exit_code, done.stdout) == (0, "gateway main is deleted\n")
    assert "host edge-1 is removed" in done.stderr
    assert "the rest goes with: sudo sh /opt/homeport/install.sh --uninstall" in done.stderr
    assert logged_in.requests("DeleteHost") == [api_pb2.DeleteHostRequest(host="edge-1")]
