"""`homeport gateway`, and `apply` and `delete` of one: what is ready and why the rest is not, what is asked, what is said."""

import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
URL = "http://NAME.example.com"
MAIN = api_pb2.Gateway(
    name="main",
    domain="example.com",
    ready=True,
    host="box",
    example_url=URL,
    certificate="none",
    default=True,
    wanted_host="local",
    listens="0.0.0.0:80",
    services=["chat", "web"],
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "gateway.homeport.yml"
    path.write_text("type: gateway\nname: main\ndomain: example.com\ncertificate: null\n")
    return str(path)


def with_(**changed: object) -> api_pb2.Gateway:
    made = api_pb2.Gateway()
    made.CopyFrom(MAIN)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def listed(*gateways: api_pb2.Gateway) -> api_pb2.ListGatewaysResponse:
    return api_pb2.ListGatewaysResponse(gateways=gateways)


def test_a_gateway_is_a_row_and_what_is_wrong_with_it_a_line(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListGateways"] = listed(with_(message="fine"))
    assert homeport("gateway", "list").stdout.splitlines() == [
        "NAME  DOMAIN       HOST  DEFAULT  SERVICES                 STATUS",
        "main  example.com  box   yes      http://NAME.example.com  ready",
    ]
    logged_in.answers["ListGateways"] = listed(with_(ready=False, message="port 80 is taken", notice="it is away"))
    shown = homeport("gateway", "list").stdout
    assert "not ready" in shown
    assert shown.splitlines()[-2:] == ["main: port 80 is taken", "main: it is away"]
    assert json.loads(homeport("gateway", "list", "--json").stdout)["gateways"][0]["ready"] is False


def test_one_is_shown_with_everything(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListGateways"] = listed(with_(old_domain="old.example"))
    shown = homeport("gateway", "get", "main").stdout
    for part in ("old.example, until the new one is served", "0.0.0.0:80", "2: chat, web", URL, "ready"):
        assert part in shown
    assert "Reason" not in shown
    assert json.loads(homeport("gateway", "get", "main", "--json").stdout)["services"] == ["chat", "web"]
    other = homeport("gateway", "get", "other")
    assert (other.exit_code, "no gateway other" in other.stderr) == (1, True)


def test_the_default_is_chosen_and_one_is_deleted_after_a_question(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["SetDefaultGateway"] = api_pb2.GatewayAnswer(sentence="gateway main is the default now")
    logged_in.answers["DeleteGateway"] = api_pb2.GatewayAnswer(sentence="gateway main is deleted")
    assert homeport("gateway", "set-default", "main").stdout == "gateway main is the default now\n"
    assert homeport("gateway", "delete", "main").exit_code == 2, "nobody is there to be asked"
    assert homeport("gateway", "delete", "main", "-y").stdout == "gateway main is deleted\n"
    assert [method for method, _ in logged_in.asked] == ["SetDefaultGateway", "DeleteGateway"]


def test_a_refusal_to_delete_is_the_servers_own_line(logged_in: FakeApi, homeport: Homeport, file: str) -> None:
    why = "gateway main publishes 1 service (web); stop them first"
    logged_in.answers["DeleteGateway"] = (grpc.StatusCode.ABORTED, why)
    done = homeport("delete", "-y", "-f", file)
    assert (done.exit_code, why in done.stderr) == (1, True)


def planned(action: str = "create") -> api_pb2.PlanGatewayResponse:
    return api_pb2.PlanGatewayResponse(
        name="main",
        action=action,
        properties=[api_pb2.Property(name="Domain", value="*.example.com")],
        changes=[api_pb2.Change(path="domain", old="a.b", new="example.com", how="new addresses")]
        if action == "update"
        else [],
        plan_token="t1",
    )


def test_one_is_applied_and_waited_for_with_each_reason_once(logged_in: FakeApi, homeport: Homeport, file: str) -> None:
    starting = with_(ready=False, message="Envoy is starting")
    logged_in.answers |= {
        "PlanGateway": planned(),
        "ApplyGateway": api_pb2.ApplyGatewayResponse(name="main", action="create"),
        "WatchGateways": [listed(starting), listed(starting, with_(name="other")), listed(MAIN)],
    }
    done = homeport("apply", "-y", "-f", file)
    assert done.exit_code == 0
    assert done.stdout == f"Gateway main is ready: services are published at {URL}\n"
    assert done.stderr.count("main: Envoy is starting") == 1
    assert "*.example.com" in done.stderr
    assert dict(logged_in.asked)["ApplyGateway"].plan_token == "t1"


def test_a_plan_shows_what_changes_and_does_not_change_it(logged_in: FakeApi, homeport: Homeport, file: str) -> None:
    logged_in.answers["PlanGateway"] = planned("update")
    done = homeport("apply", "--plan", "-f", file)
    assert "domain  a.b   example.com  new addresses" in done.stdout
    assert json.loads(homeport("apply", "--plan", "--json", "-f", file).stdout)["action"] == "update"
    assert {method for method, _ in logged_in.asked} == {"PlanGateway"}


def test_what_is_unchanged_is_left_alone_and_detached_is_not_waited_for(
    logged_in: FakeApi, homeport: Homeport, file: str
) -> None:
    logged_in.answers["PlanGateway"] = planned("unchanged")
    assert "unchanged: nothing to do" in homeport("apply", "-y", "-f", file).stderr
    logged_in.answers |= {
        "PlanGateway": planned("update"),
        "ApplyGateway": api_pb2.ApplyGatewayResponse(name="main", action="update"),
    }
    assert homeport("apply", "-y", "-d", "-f", file).stdout == "main\n"


def test_problems_are_told_with_their_lines(logged_in: FakeApi, homeport: Homeport, file: str) -> None:
    problem = api_pb2.Problem(path="domain", message="is taken", hint="Choose another")
    logged_in.answers["PlanGateway"] = api_pb2.PlanGatewayResponse(problems=[problem])
    done = homeport("apply", "-y", "-f", file)
    assert done.exit_code == 2
    assert f"{file}:3: domain: is taken. Choose another" in done.stderr


def test_the_ca_is_printed_as_it_is(logged_in: FakeApi, homeport: Homeport) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    logged_in.answers["GetGatewayCa"] = api_pb2.GatewayCaResponse(name="main", ca_pem=pem)
    assert homeport("gateway", "ca").stdout == pem
    assert homeport("gateway", "ca", "main").stdout == pem
    assert [request.name for _, request in logged_in.asked] == ["", "main"]
