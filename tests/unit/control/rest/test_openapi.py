"""rest/openapi: the document is OpenAPI, and its schemas are what transcode reads and writes."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from homeport_control.domain.errors import BadRequest
from homeport_control.rest.endpoint import api_routes
from homeport_control.rest.openapi import document
from homeport_control.rest.transcode import answer_of, is_map, request_of

ROUTES = {route.method: route for route in api_routes().all}
COMMENTS = json.loads(files("homeport_protos").joinpath("comments.json").read_text())
DOCUMENT = document(api_routes(), "1.2.3", COMMENTS)
VALUES = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.5,
    FieldDescriptor.CPPTYPE_INT32: -3,
    FieldDescriptor.CPPTYPE_UINT32: 3,
    FieldDescriptor.CPPTYPE_INT64: 2**53 + 1,
}


def operation(method: str) -> dict[str, Any]:
    route = ROUTES[method]
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.verb.lower()]
    return found


def check(schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_each_method_is_in_it_and_says_what_it_is_for() -> None:
    ids = [it["operationId"] for path in DOCUMENT["paths"].values() for it in path.values()]
    assert sorted(ids) == sorted(ROUTES)
    assert [method for method in ROUTES if not operation(method).get("description")] == []
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_each_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name in schemas if f'"#/components/schemas/{name}"' not in text] == []
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert schemas[name]["type"] == "object"


def filled(kind: type[Message]) -> Message:
    """With each field set, as deep as messages go."""
    message = kind()
    _fill(message, 3)
    return message


def _fill(message: Any, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        here = getattr(message, field.name)
        is_nested = field.message_type is not None and not is_map(field)
        if is_map(field):
            here["key"] = "value"
        elif field.message_type is not None and field.message_type.name == "Timestamp":
            here.FromSeconds(1)
        elif is_nested and depth:
            _fill(here.add() if field.is_repeated else here, depth - 1)
            if not field.is_repeated:
                here.SetInParent()
        elif not is_nested:
            value = VALUES[field.cpp_type]
            here.append(value) if field.is_repeated else setattr(message, field.name, _of(field, value))


def _of(field: Any, value: Any) -> Any:
    return b"bytes" if field.type == field.TYPE_BYTES else value


@pytest.mark.parametrize("method", ROUTES)
def test_an_answer_is_what_its_schema_says(method: str) -> None:
    content = operation(method)["responses"]["200"]["content"]
    schema = content["application/x-ndjson" if ROUTES[method].streams else "application/json"]["schema"]
    for answer in (filled(ROUTES[method].answer), ROUTES[method].answer()):
        check(schema, json.loads(answer_of(answer)))
    for wrong in ([], {"surely_not": 1}, dict.fromkeys(json.loads(answer_of(filled(ROUTES[method].answer))))):
        if wrong == [] or ROUTES[method].answer.DESCRIPTOR.fields:
            with pytest.raises(jsonschema.ValidationError):
                check(schema, wrong)


@pytest.mark.parametrize("method", [name for name, route in ROUTES.items() if route.has_body])
def test_a_body_is_what_its_schema_says_and_nothing_more(method: str) -> None:
    route = ROUTES[method]
    schema = operation(method)["requestBody"]["content"]["application/json"]["schema"]
    check(schema, {})
    values = json.loads(answer_of(filled(route.request)))
    body = {name: value for name, value in values.items() if name not in route.in_path}
    check(schema, body)
    in_path = dict.fromkeys(route.in_path, values[route.in_path[0]] if route.in_path else "")
    assert request_of(route, in_path, "", json.dumps(body).encode()) == filled(route.request)
    for wrong in (
        {"surely_not": 1},
        dict.fromkeys(route.in_path, "x") or [],
        *({it.name: None} for it in route.others),
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(schema, wrong)
        with pytest.raises(BadRequest):
            request_of(route, in_path, "", json.dumps(wrong).encode())


def test_parameters_are_all_fields_that_are_not_in_a_body() -> None:
    for route in ROUTES.values():
        where = {(it["name"], it["in"]) for it in operation(route.method)["parameters"]}
        expected = {(name, "path") for name in route.in_path}
        expected |= set() if route.has_body else {(field.name, "query") for field in route.others}
        assert where == expected
