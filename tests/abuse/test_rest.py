"""REST of a real server: what schemathesis makes of its OpenAPI document, and refusals in the words of gRPC.

Streams without an end (Watch…) are left to tests/unit/control/rest.
"""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest
import schemathesis
from fixtures.hostile import ANSWER_S, TOKENS, Victim, bearer
from homeport_control import __version__
from homeport_control.relay.statuses import STATUSES
from homeport_control.rest.endpoint import api_routes
from homeport_control.rest.openapi import document
from homeport_protos.api.v1 import api_pb2
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis import checks as known

ROUTES = {route.method: route for route in api_routes().all}
ENDLESS = [method for method in ROUTES if method.startswith("Watch")]
# Without tokens: it would try wrong ones, of which an address has few. Who may call is asked below.
OPEN = document(api_routes(), __version__, {}) | {"security": []}
schema = schemathesis.openapi.from_dict(OPEN).exclude(operation_id=ENDLESS)
CHECKS = [
    known.not_a_server_error, known.status_code_conformance, known.content_type_conformance,
    known.response_schema_conformance, known.negative_data_rejection, known.unsupported_method, known.allow_header_conformance,
]  # fmt: skip
asking = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def root(victim: Victim) -> str:
    return f"https://127.0.0.1:{victim.server.api_port + 2}"


def ask(victim: Victim, method: str, path: str, role: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(root(victim) + path, data, dict(bearer(role)), method=method)
    trust = ssl.create_default_context(cadata=victim.ca_pem.decode())
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S, context=trust) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def probe(victim: Victim, case: Case) -> None:
    if case.path.endswith(("/events", "/logs", "/metrics")) and isinstance(case.query, dict):
        case.query.pop("follow", None)  # it would have no end
    headers = {"Authorization": f"Bearer {TOKENS['admin']}"}
    ca = str(victim.server.folder / "server" / "ca.pem")
    case.call_and_validate(base_url=root(victim), headers=headers, checks=CHECKS, verify=ca, timeout=ANSWER_S)


@schema.parametrize()
@settings(asking, max_examples=4)
def test_each_operation_is_what_its_document_says(case: Case, server: Victim) -> None:
    probe(server, case)


@pytest.mark.nightly
@schema.parametrize()
@settings(asking, max_examples=100)
def test_each_operation_is_so_for_much_that_is_asked(case: Case, server: Victim) -> None:
    probe(server, case)


def test_the_server_is_well_after_all_that(server: Victim) -> None:
    server.must_be_well()


def test_the_document_that_is_served_is_that_of_the_code(server: Victim) -> None:
    status, served = ask(server, "GET", "/api/v1/openapi.json", "none")
    assert status == 200
    assert list(served["paths"]) == list(document(api_routes(), __version__, {})["paths"])
    assert served["paths"]["/api/v1/runs"]["get"]["description"] == "with their replicas"


@pytest.mark.parametrize("method", ROUTES)
@pytest.mark.parametrize("role", ["none", "service"])
def test_who_may_not_call_the_api_may_not_here(server: Victim, method: str, role: str) -> None:
    route = ROUTES[method]
    path = route.path
    for name in route.in_path:
        path = path.replace(f"{{{name}}}", "x")
    status, said = ask(server, route.verb, path, role)
    assert (status, said["error"]["code"]) in {(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED")}


@pytest.mark.parametrize(
    ("method", "request_", "path", "body", "role"),
    [
        ("Rollback", api_pb2.RollbackRequest(name="lost"), "/api/v1/runs/lost:rollback", {}, "user"),
        ("Rollback", api_pb2.RollbackRequest(name="hello"), "/api/v1/runs/hello:rollback", {}, "user"),
        ("CreateUser", api_pb2.CreateUserRequest(name="bob"), "/api/v1/users", {"name": "bob"}, "user"),
        (
            "CreateUser",
            api_pb2.CreateUserRequest(name="b", role="x"),
            "/api/v1/users",
            {"name": "b", "role": "x"},
            "admin",
        ),
        ("DeleteUser", api_pb2.DeleteUserRequest(name="admin"), "/api/v1/users/admin", None, "user"),
        ("RevokeToken", api_pb2.RevokeTokenRequest(id="lost"), "/api/v1/tokens/lost", None, "admin"),
        ("DeleteGateway", api_pb2.GatewayRequest(name="local"), "/api/v1/gateways/local", None, "admin"),
        ("DeleteFleet", api_pb2.DeleteFleetRequest(name="local"), "/api/v1/fleets/local", None, "admin"),
        ("ListRuns", api_pb2.ListRunsRequest(), "/api/v1/runs", None, "none"),
        ("ListRuns", api_pb2.ListRunsRequest(), "/api/v1/runs", None, "service"),
    ],
)
def test_a_refusal_has_the_words_that_it_has_over_grpc(
    server: Victim, method: str, request_: Any, path: str, body: Any, role: str
) -> None:
    call = getattr(server.stub, method)
    with pytest.raises(grpc.RpcError) as caught:
        call(request_, metadata=bearer(role), timeout=ANSWER_S)
    status, said = ask(server, ROUTES[method].verb, path, role, body)
    error: Any = caught.value
    assert said["error"] == {"code": error.code().name, "message": error.details()}
    assert status == STATUSES[error.code()]


def test_an_event_names_who_did_it_over_rest(server: Victim) -> None:
    status, made = ask(server, "POST", "/api/v1/users", "admin", {"name": "over-rest", "role": "user"})
    assert status == 200, made
    name = server.stub.GetServer(api_pb2.GetServerRequest(), metadata=bearer("admin"), timeout=ANSWER_S).user
    rows = server.rows("select actor from events where kind = 'user' and name = 'over-rest'")
    assert rows == [(f"user {name}",)]
    assert TOKENS["admin"] not in server.log


def test_a_call_over_rest_is_counted_as_one_of_the_api(server: Victim) -> None:
    def counted() -> float:
        request = urllib.request.Request(root(server) + "/metrics", headers=dict(bearer("admin")))
        trust = ssl.create_default_context(cadata=server.ca_pem.decode())
        with urllib.request.urlopen(request, timeout=ANSWER_S, context=trust) as answer:
            lines = answer.read().decode().splitlines()
        name = 'homeport_api_call_seconds_count{method="ListUsers"} '
        return float(next((line.removeprefix(name) for line in lines if line.startswith(name)), 0.0))

    before = counted()
    assert ask(server, "GET", "/api/v1/users", "user")[0] == 200
    assert counted() == before + 1
