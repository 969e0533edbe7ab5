"""Which method of the Api a path and a verb mean. PURE: from the service's descriptor and the rules beside its .proto file.

Covers rules of google.api.http as far as they are used: one verb, `{field}` for a segment of the path, `body: "*"` or none.
Does not cover what a request's fields may be (transcode).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PREFIX = "/api/v1"
VERBS = ("get", "post", "delete", "put", "patch")
# Methods that are not over HTTP, and why.
NOT_OVER_HTTP = {
    "UploadCode": "contents go up as a stream of pieces whose hashes are checked as they come; `homeport apply` does it",
}
_FIELD = re.compile(r"{(\w+)}")


def described(kind: type[Message]) -> Descriptor:
    return cast("Descriptor", kind.DESCRIPTOR)  # its stub says that it may be the C implementation's, which is the same


@dataclass(frozen=True, slots=True)
class Route:
    method: str  # "ListRuns"
    full_name: str  # as the comments have it
    verb: str  # "GET"
    path: str  # "/api/v1/runs/{name}:rollback"
    has_body: bool  # all fields that are not in the path; else they are in the query
    streams: bool
    in_path: tuple[str, ...]
    request: type[Message]
    answer: type[Message]

    @property
    def others(self) -> tuple[FieldDescriptor, ...]:
        """Fields of the request that are not in the path."""
        return tuple(it for it in described(self.request).fields if it.name not in self.in_path)


@dataclass(frozen=True, slots=True)
class Found:
    route: Route
    values: dict[str, str]  # of the fields in the path


class Routes:
    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)
        self._patterns = [(_pattern(route.path), route) for route in routes]

    def find(self, verb: str, raw_path: str) -> Found | tuple[str, ...]:
        """`raw_path` as it was sent, without the query. Otherwise: the verbs that this path has; none: it is no path here.

        Raises UnicodeDecodeError for a name that is no text.
        """
        verbs = []
        for pattern, route in self._patterns:
            match = pattern.fullmatch(raw_path)
            if match is None:
                continue
            if route.verb == verb:
                return Found(
                    route, {name: unquote(value, errors="strict") for name, value in match.groupdict().items()}
                )
            verbs.append(route.verb)
        return tuple(sorted(set(verbs)))


def routes_of(service: ServiceDescriptor, rules: Sequence[Mapping[str, Any]], without: Mapping[str, str]) -> Routes:
    """Raises ValueError for a rule that means nothing here, and for a method that has neither a rule nor a reason."""
    made: list[Route] = []
    for rule in rules:
        name = str(rule["selector"]).removeprefix(f"{service.full_name}.")
        if name not in service.methods_by_name:
            raise ValueError(f"{rule['selector']} is no method of {service.full_name}")
        made.append(_route(service.methods_by_name[name], rule))
    mapped = [route.method for route in made]
    wrong = {name for name in service.methods_by_name if (name in mapped) == (name in without)}
    if wrong or len(set(mapped)) != len(mapped):
        raise ValueError(f"needs one rule or one reason why not: {', '.join(sorted(wrong)) or mapped}")
    return Routes(made)


def _route(method: MethodDescriptor, rule: Mapping[str, Any]) -> Route:
    verb = next(it for it in VERBS if it in rule)
    path = str(rule[verb])
    request: type[Message] = GetMessageClass(method.input_type)
    in_path = tuple(_FIELD.findall(path))
    route = Route(
        method.name,
        method.full_name,
        verb.upper(),
        path,
        rule.get("body") == "*",
        bool(method.server_streaming),
        in_path,
        request,
        GetMessageClass(method.output_type),
    )
    fields = request.DESCRIPTOR.fields_by_name
    if not path.startswith(f"{PREFIX}/") or set(rule) - {"selector", "body", verb} or rule.get("body", "*") != "*":
        raise ValueError(f"{method.name}: {dict(rule)} is not understood")
    if any(name not in fields or fields[name].type != FieldDescriptor.TYPE_STRING for name in in_path):
        raise ValueError(f"{method.name}: what stands in its path are no strings of {request.DESCRIPTOR.name}")
    if not route.has_body and any(_is_nested(field) for field in route.others):
        raise ValueError(f"{method.name}: a query has no place for messages; it needs a body")
    return route


def _is_nested(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.message_type.GetOptions().map_entry


def _pattern(path: str) -> re.Pattern[str]:
    parts = _FIELD.split(path)  # text, name, text, name, ..., text
    return re.compile("".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)))
