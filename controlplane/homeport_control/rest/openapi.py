"""The OpenAPI document of the Api: from its routes and from the comments of its .proto files. PURE."""

from collections.abc import Mapping
from typing import Any

from homeport_control.rest.routes import Route, Routes, described
from homeport_control.rest.schemas import Schema, Schemas
from homeport_control.rest.transcode import is_map

LINES, EVENTS = "application/x-ndjson", "text/event-stream"
ABOUT = """What `homeport` on the command line may ask of a Homeport server, as JSON. Send a token as
`Authorization: Bearer TOKEN`. Fields that a request leaves out are empty. A configuration (a field `json`) is the file's
content as an object."""
STREAMED = """One answer a line, as they happen; an empty line now and then says that the stream lives. With
`Accept: text/event-stream` each is an event of its own. What ends a stream early is its last line: an `error`."""
ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "for programs: NOT_FOUND, PERMISSION_DENIED, …"},
                "message": {"type": "string", "description": "for people: what happened, why, what to do, on one line"},
            },
        }
    },
}


def document(routes: Routes, version: str, comments: Mapping[str, str]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    schemas = Schemas(comments)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.all:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route, schemas)
    failed = {"description": "It was refused, or failed", "content": {"application/json": {"schema": _ref("Error")}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Homeport", "version": version, "description": ABOUT.replace("\n", " ")},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.made.items())) | {"Error": ERROR},
            "responses": {"Error": failed},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    fields = described(route.request).fields_by_name
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        | schemas.words(fields[name].full_name)
        for name in route.in_path
    ]
    made: dict[str, Any] = {
        "operationId": route.method,
        "tags": [route.path.split("/")[3].partition(":")[0]],
        **schemas.words(route.full_name),
        "parameters": in_path if route.has_body else [*in_path, *_in_query(route, schemas)],
        "responses": {"200": _answer(route, schemas), "default": {"$ref": "#/components/responses/Error"}},
    }
    if route.has_body:
        body = schemas.body(described(route.request), route.others)
        made["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return made


def _in_query(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    return [
        {"name": field.name, "in": "query", "schema": schemas.parameter(field), **schemas.words(field.full_name)}
        | ({"style": "deepObject", "explode": True} if is_map(field) else {})
        for field in route.others
    ]


def _answer(route: Route, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.answer(described(route.answer))
    if not route.streams:
        return {"description": "The answer", "content": {"application/json": {"schema": schema}}}
    return {
        "description": STREAMED.replace("\n", " "),
        "content": {LINES: {"schema": schema}, EVENTS: {"schema": schema}},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
