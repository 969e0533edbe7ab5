"""rest/routes: each method of the Api has one path or a reason; what a path and a verb mean."""

from typing import Any

import pytest
from homeport_control.relay.inside import SERVICE
from homeport_control.rest.endpoint import api_routes
from homeport_control.rest.routes import NOT_OVER_HTTP, Found, Routes, routes_of

TABLE = api_routes()
API = SERVICE.full_name


def test_each_method_of_the_api_is_mapped_or_excused() -> None:
    mapped = {route.method for route in TABLE.all}
    assert mapped | set(NOT_OVER_HTTP) == {method.name for method in SERVICE.methods}
    assert not mapped & set(NOT_OVER_HTTP)
    assert len({(route.verb, route.path) for route in TABLE.all}) == len(TABLE.all)


def test_what_only_reads_is_a_get_and_what_is_a_get_only_reads() -> None:
    reads = {it.method for it in TABLE.all if it.verb == "GET"}
    assert reads == {
        it.method for it in TABLE.all if it.method.startswith(("List", "Watch", "Get")) and it.method != "ListOffers"
    } | {"Logs", "Events", "Metrics", "Usage"}


@pytest.mark.parametrize(
    ("verb", "path", "method", "values"),
    [
        ("GET", "/api/v1/runs", "ListRuns", {}),
        ("GET", "/api/v1/runs:watch", "WatchRuns", {}),
        ("POST", "/api/v1/runs/hello:rollback", "Rollback", {"name": "hello"}),
        ("GET", "/api/v1/runs/hello/logs", "Logs", {"run_name": "hello"}),
        ("POST", "/api/v1/hosts/gpu-1:drain", "Drain", {"host": "gpu-1"}),
        ("DELETE", "/api/v1/hosts/10.0.0.1%3A22", "DeleteHost", {"host": "10.0.0.1:22"}),
        ("DELETE", "/api/v1/tokens/a%2Fb%C3%A9", "RevokeToken", {"id": "a/bé"}),
        ("POST", "/api/v1/hosts/a:undrain:drain", "Drain", {"host": "a:undrain"}),
    ],
)
def test_a_path_and_a_verb_are_a_method(verb: str, path: str, method: str, values: dict[str, str]) -> None:
    found = TABLE.find(verb, path)
    assert isinstance(found, Found)
    assert (found.route.method, found.values) == (method, values)


@pytest.mark.parametrize(
    ("verb", "path", "verbs"),
    [
        ("PUT", "/api/v1/tokens", ("GET", "POST")),
        ("HEAD", "/api/v1/runs", ("GET",)),
        ("GET", "/api/v1/runs/", ()),
        ("GET", "/api/v1/runs/a/b/logs", ()),
        ("POST", "/api/v1/hosts/:drain", ("DELETE",)),
        ("GET", "/api/v1", ()),
    ],
)
def test_other_paths_are_none_and_other_verbs_are_told(verb: str, path: str, verbs: tuple[str, ...]) -> None:
    assert TABLE.find(verb, path) == verbs


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        TABLE.find("DELETE", "/api/v1/tokens/%ff")


def rules(*of: dict[str, Any]) -> Routes:
    named = [rule | {"selector": f"{API}.{rule['selector']}"} for rule in of]
    mapped = {rule["selector"] for rule in of}
    return routes_of(SERVICE, named, {it.name: "not here" for it in SERVICE.methods if it.name not in mapped})


def test_few_rules_will_do_when_the_rest_is_excused() -> None:
    assert rules({"selector": "ListRuns", "get": "/api/v1/runs"}).all[0].method == "ListRuns"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"selector": "Lost", "get": "/api/v1/lost"}, "is no method of"),
        ({"selector": "ListRuns", "get": "/runs"}, "is not understood"),
        ({"selector": "ListRuns", "get": "/api/v1/runs", "response_body": "runs"}, "is not understood"),
        ({"selector": "Plan", "post": "/api/v1/runs:plan", "body": "document"}, "is not understood"),
        ({"selector": "Plan", "get": "/api/v1/plan"}, "a query has no place for messages"),
        ({"selector": "Rollback", "post": "/api/v1/{from_revision}", "body": "*"}, "are no strings of RollbackRequest"),
        ({"selector": "Rollback", "post": "/api/v1/{nam}", "body": "*"}, "are no strings of RollbackRequest"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules(rule)


def test_a_method_without_a_rule_or_with_two_is_named() -> None:
    rule = {"selector": f"{API}.ListRuns", "get": "/api/v1/runs"}
    without = {it.name: "not here" for it in SERVICE.methods if it.name not in {"ListRuns", "Plan"}}
    with pytest.raises(ValueError, match="one rule or one reason why not: Plan"):
        routes_of(SERVICE, [rule], without)
    with pytest.raises(ValueError, match="one rule or one reason"):
        routes_of(SERVICE, [rule, rule], without | {"Plan": "not here"})
