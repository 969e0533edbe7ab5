"""rest/transcode: what a request says becomes the message that it means, or one line that names the field."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fixtures.messages import messages
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from homeport_control.domain.errors import BadRequest
from homeport_control.rest.endpoint import api_routes
from homeport_control.rest.routes import Route
from homeport_control.rest.transcode import answer_of, request_of
from homeport_protos.api.v1 import api_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

ROUTES = {route.method: route for route in api_routes().all}


def of_query(method: str, query: str, **in_path: str) -> Any:
    return request_of(ROUTES[method], in_path, query)


def of_body(method: str, body: Any, **in_path: str) -> Any:
    return request_of(ROUTES[method], in_path, "", body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_query_says_the_fields_of_a_request() -> None:
    assert of_query("ListRuns", "all=true&names=a&names=b") == api_pb2.ListRunsRequest(all=True, names=["a", "b"])
    assert of_query("Events", "since_s=1.5&limit=-3&after_id=9007199254740993&kind=") == api_pb2.EventsRequest(
        since_s=1.5, limit=-3, after_id=9007199254740993
    )
    logs = of_query("Logs", "after[r1]=7%3A2&after%5Br%202%5D=9&replica=0", run_name="hello")
    assert logs == api_pb2.LogsRequest(run_name="hello", replica=0, after={"r1": "7:2", "r 2": "9"})
    assert logs.HasField("replica")


def test_a_body_says_the_fields_that_are_not_in_the_path() -> None:
    assert of_body("Rollback", {"plan_only": True, "from_revision": 3.0}, name="hello") == api_pb2.RollbackRequest(
        name="hello", plan_only=True, from_revision=3
    )
    assert of_body("Drain", b"", host="h1") == api_pb2.DrainRequest(host="h1")
    assert of_body("CreateUser", {"ttl_s": 3}) == api_pb2.CreateUserRequest(ttl_s=3.0)


def test_a_configuration_may_be_the_object_or_its_text() -> None:
    as_text = of_body("Plan", {"document": {"json": '{"type": "service"}', "env": {"A": "1"}}})
    assert of_body("Plan", {"document": {"json": {"type": "service"}, "env": {"A": "1"}}}) == as_text
    assert as_text.document.json == '{"type": "service"}'


@pytest.mark.parametrize(
    ("method", "query", "words"),
    [
        ("ListRuns", "al=true", "al: there is no such parameter; there are: all, names"),
        ("ListRuns", "all", 'all: wants true or false, not ""'),
        ("ListRuns", "all=True", "all: wants true or false, not True"),
        ("ListRuns", "all=true&all=true", "all: it was given twice"),
        ("ListRuns", "names[a]=b", "names[a]: there is no such parameter; there are: all, names"),
        ("Events", "limit=3000000000", "limit: wants a whole number from -2147483648 to 2147483647, not 3000000000"),
        ("Events", "limit=1_0", "limit: wants a whole number from -2147483648 to 2147483647, not 1_0"),
        ("Events", "since_s=nan", "since_s: wants a number, not nan"),
        ("Events", "since_s=1e999", "since_s: wants a number, not Infinity"),
        ("ListUsers", "x=1", "x: there is no such parameter; there are: none"),
        ("ListRuns", "names=%ff", "the query is no text in UTF-8, or has more than 1000 parameters"),
        ("ListRuns", "&".join(["names=a"] * 1001), "the query is no text in UTF-8, or has more than 1000 parameters"),
    ],
)
def test_a_query_that_is_wrong_is_told_with_its_parameter(method: str, query: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        of_query(method, query)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("Plan", [], "the body: wants an object, not a list"),
        ("Plan", {"documnt": {}}, "documnt: there is no such field; there are: document"),
        ("Plan", {"document": {"reuse": "yes"}}, "document.reuse: wants true or false, not yes"),
        ("Plan", {"document": {"reuse": None}}, "document.reuse: wants true or false, not null"),
        ("Plan", {"document": {"env": {"A": 1}}}, "document.env[A]: wants a string, not 1"),
        ("Plan", {"document": {"env": ["A"]}}, "document.env: wants an object, not a list"),
        ("Plan", {"document": {"json": []}}, "document.json: wants an object, not a list"),
        ("Plan", {"document": {"codeId": ""}}, "document.codeId: there is no such field; there are: json, name, env,"),
        ("Plan", {"document": {"name": "\ud800"}}, "document.name: is no text: it has half of a character"),
        ("StopRuns", {"names": "a"}, "names: wants a list, not a"),
        ("StopRuns", {"names": ["a", 2]}, "names[1]: wants a string, not 2"),
        ("StopRuns", {"abort": 1}, "abort: wants true or false, not 1"),
        ("Rollback", {"name": "b"}, "name: it stands in the path already"),
        (
            "Rollback",
            {"from_revision": 1.5},
            "from_revision: wants a whole number from -2147483648 to 2147483647, not 1.5",
        ),
        ("Rollback", {"from_revision": True}, "from_revision: wants a whole number from"),
        ("Rollback", {"from_revision": "3"}, "from_revision: wants a whole number from"),
        ("CreateUser", {"ttl_s": "3"}, "ttl_s: wants a number, not 3"),
        ("CreateUser", {"ttl_s": 10**400}, "ttl_s: wants a number, not 1000"),
        ("CheckCode", {"manifest": 1}, "manifest: wants an object, not 1"),
        ("Plan", b'{"document": {}, "document": {}}', "document: it stands there twice"),
        ("Plan", b'{"a": NaN}', "the body is not JSON: NaN is no number there"),
        ("Plan", b"\n", "the body is not JSON: Expecting value (line 2, column 1)"),
        ("Plan", b"document=1", "the body is not JSON: Expecting value (line 1, column 1)"),
        ("Plan", b"\xff", "the body is not JSON in UTF-8, or has a number that is too long"),
        ("Plan", b"9" * 5000, "the body is not JSON in UTF-8, or has a number that is too long"),
        ("Plan", b"[" * 100_000, "the body is nested too deeply"),
        ("CreateUser", {"a\nb\x1b": 1}, '"a\\nb\\x1b": there is no such field'),
    ],
)
def test_a_body_that_is_wrong_is_told_with_its_field(method: str, body: Any, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        of_body(method, body, **({"name": "hello"} if method == "Rollback" else {}))
    assert str(caught.value).startswith(words)
    assert str(caught.value).isprintable()


def test_numbers_of_64_bits_may_be_strings_as_protobuf_writes_them() -> None:
    facts = {"memory_mib": "9007199254740993"}
    report = of_body("ReportRegistration", {"facts": facts}, fleet="f")
    assert report.facts.memory_mib == 9007199254740993
    assert of_body("ReportRegistration", {"facts": {"memory_mib": 7}}, fleet="f").facts.memory_mib == 7
    with pytest.raises(BadRequest, match=r"facts\.memory_mib: wants a whole number from -9223372036854775808"):
        of_body("ReportRegistration", {"facts": {"memory_mib": "9" * 19}}, fleet="f")


def test_a_machine_behind_ever_another_one_is_refused() -> None:
    access: dict[str, Any] = {}
    for _ in range(50):
        access = {"jump": access}
    with pytest.raises(BadRequest, match=r"access(\.jump)+: is nested too deeply"):
        of_body("ReportRegistration", {"access": access}, fleet="f")


def test_a_query_for_a_body_and_a_body_for_a_query_are_refused() -> None:
    with pytest.raises(BadRequest, match="names: this call has no parameters in the query; they are in its body"):
        request_of(ROUTES["StopRuns"], {}, "names=a", b"{}")
    with pytest.raises(BadRequest, match="this call has no body; what it asks for is in the query"):
        request_of(ROUTES["ListRuns"], {}, "", b"{}")


def test_an_answer_shows_what_cannot_be_unset_under_its_own_name() -> None:
    shown = json.loads(answer_of(api_pb2.RollbackResponse(run_id="r", to_user="é")))
    assert shown == {"run_id": "r", "from_revision": 0, "to_revision": 0, "to_user": "é"}


def said(route: Route, request: Message) -> tuple[dict[str, str], str, bytes]:
    """A request as a caller would write it."""
    values = MessageToDict(request, preserving_proto_field_name=True)
    in_path = {name: str(values.pop(name, "")) for name in route.in_path}
    if route.has_body:
        return in_path, "", json.dumps(values).encode()

    def pairs() -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            for key, one in value.items() if isinstance(value, dict) else [(None, value)]:
                for it in one if isinstance(one, list) else [one]:
                    yield (
                        f"{name}[{key}]" if key is not None else name,
                        json.dumps(it) if not isinstance(it, str) else it,
                    )

    return in_path, urlencode(list(pairs())), b""


@pytest.mark.parametrize("method", ROUTES)
def test_what_a_caller_writes_is_the_message_that_it_means(method: str) -> None:
    route = ROUTES[method]

    @settings(max_examples=6, deadline=None, database=None, derandomize=True)
    @given(messages(route.request))
    def one(request: Message) -> None:
        text = MessageToDict(request)
        if any(it in json.dumps(text) for it in ('"NaN"', 'Infinity"')):
            return  # not said over JSON here
        assert request_of(route, *said(route, request)) == request

    one()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["json", "env", "a", "jump"]), inner),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.sampled_from(sorted(ROUTES)), ANY, st.text(max_size=20), st.binary(max_size=8), st.data())
def test_whatever_is_sent_is_a_request_or_one_line(
    method: str, value: Any, query: str, odd: bytes, data: st.DataObject
) -> None:
    route = ROUTES[method]
    names = st.sampled_from([field.name for field in route.others] or ["x"])
    body = json.dumps({data.draw(names): value}).encode() if route.has_body else b""
    for given_query, given_body in (("", body), (query, b""), (f"{data.draw(names)}={query}", b""), ("", odd)):
        words = refused(route, given_query, given_body)
        assert words.isprintable()
        assert len(words) < 1000


def refused(route: Route, query: str, body: bytes) -> str:
    """Why; empty: it is taken."""
    try:
        request_of(route, dict.fromkeys(route.in_path, "x"), query, body)
    except BadRequest as error:
        return str(error)
    return ""
