"""Path, query and body as a request of the Api; its answers as JSON. PURE.

The JSON is protobuf's own (https://protobuf.dev/programming-guides/json), with names as they stand in api.proto and every
field that cannot be unset shown, which is what `homeport … -o json` prints too: 64-bit numbers are strings, bytes are base64,
times are RFC 3339. It is read more strictly than protobuf reads it, so that a mistake is told and not guessed at: no other
spelling of a name, no null, no number in quotes where it fits a JSON number. One thing is read more kindly: a configuration,
which is text in protobuf (fields named `json`), may be the object itself.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from homeport_protos.text import one_line

from homeport_control.domain.errors import BadRequest
from homeport_control.rest.routes import Route, described

MOST_DEPTH = 32  # of messages in one another
MOST_PARAMETERS = 1000
DOCUMENT = "json"  # fields of this name hold a configuration
INT32, INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
RANGES = {
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
LONG = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}
FRACTIONS = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_IN_MAP = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)


def request_of(route: Route, in_path: Mapping[str, str], query: str, body: bytes = b"") -> Message:
    """Raises BadRequest with one line that names the field."""
    try:
        said = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:  # UnicodeDecodeError is one
        raise BadRequest(f"the query is no text in UTF-8, or has more than {MOST_PARAMETERS} parameters") from None
    if route.has_body:
        if said:
            raise BadRequest(f"{_shown(said[0][0])}: this call has no parameters in the query; they are in its body")
        values = _message(described(route.request), _json(body) if body else {}, "", route.in_path)
    else:
        values = _of_query(route, said)
        if body:
            raise BadRequest("this call has no body; what it asks for is in the query")
    values |= {name: _text(value, name) for name, value in in_path.items()}
    request = route.request()
    try:
        ParseDict(values, request)
    except (ParseError, ValueError) as error:
        raise BadRequest(one_line(str(error).partition("\n")[0])) from None
    return request


def answer_of(message: Message) -> bytes:
    """On one line, without its end."""
    found = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def in_map_of(field: FieldDescriptor) -> FieldDescriptor:
    """What a map holds."""
    return cast("FieldDescriptor", field.message_type.fields_by_name["value"])  # type: ignore[union-attr]


def _json(body: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise BadRequest(f"{_shown(next(it for it in names if names.count(it) > 1))}: it stands there twice")
        return found

    def no_number(word: str) -> Any:
        raise BadRequest(f"the body is not JSON: {word} is no number there")

    try:
        return json.loads(body.decode(), object_pairs_hook=once, parse_constant=no_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not JSON: {one_line(error.msg)} ({where})") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError:  # no UTF-8, or a number of thousands of digits
        raise BadRequest("the body is not JSON in UTF-8, or has a number that is too long") from None


def _message(kind: Descriptor, value: Any, at: str, elsewhere: Sequence[str] = (), depth: int = 0) -> dict[str, Any]:
    """What ParseDict takes without a word. `elsewhere`: fields that stand in the path."""
    if not isinstance(value, dict):
        raise BadRequest(f"{at or 'the body'}: wants an object, not {_shown(value)}")
    if depth > MOST_DEPTH:
        raise BadRequest(f"{at}: is nested too deeply")
    made: dict[str, Any] = {}
    for name, given in value.items():
        field = kind.fields_by_name.get(name)
        if name in elsewhere:
            raise BadRequest(f"{_under(at, name)}: it stands in the path already")
        if field is None:
            known = ", ".join(it for it in kind.fields_by_name if it not in elsewhere) or "none"
            raise BadRequest(f"{_under(at, name)}: there is no such field; there are: {known}")
        made[name] = _field(field, given, _under(at, name), depth)
    return made


def _field(field: FieldDescriptor, value: Any, at: str, depth: int) -> Any:
    if is_map(field):
        of = in_map_of(field)
        if not isinstance(value, dict):
            raise BadRequest(f"{at}: wants an object, not {_shown(value)}")
        return {_text(key, at): _one(of, it, f"{at}[{_shown(key)}]", depth) for key, it in value.items()}
    if field.is_repeated:
        if not isinstance(value, list):
            raise BadRequest(f"{at}: wants a list, not {_shown(value)}")
        return [_one(field, it, f"{at}[{number}]", depth) for number, it in enumerate(value)]
    return _one(field, value, at, depth)


def _one(field: FieldDescriptor, value: Any, at: str, depth: int) -> Any:
    if field.message_type is not None:
        if field.message_type.file.package == "google.protobuf":  # a time: JSON has it as a string
            return _text(value, at)
        return _message(field.message_type, value, at, (), depth + 1)
    if field.type == FieldDescriptor.TYPE_STRING and field.name == DOCUMENT:
        return _document(value, at)
    if field.type in LONG and isinstance(value, str):
        return _whole(field, value, at)
    return _KINDS[field.type](value, at)


def _document(value: Any, at: str) -> str:
    if isinstance(value, str | dict):
        return _text(value if isinstance(value, str) else json.dumps(value), at)
    raise BadRequest(f"{at}: wants an object, not {_shown(value)}")


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{at}: wants a string, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{at}: is no text: it has half of a character") from None
    return value


def _yes_or_no(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{at}: wants true or false, not {_shown(value)}")
    return value


def _bytes(value: Any, at: str) -> str:
    if not _BASE64.fullmatch(_text(value, at)) or len(value) % 4:
        raise BadRequest(f"{at}: wants bytes in base64, not {_shown(value)}")
    return base64.b64encode(base64.b64decode(value)).decode()


def _integer(kind: int, value: Any, at: str) -> int:
    least, most = RANGES[kind]
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or not least <= value <= most:
        raise BadRequest(f"{at}: wants a whole number from {least} to {most}, not {_shown(value)}")
    return int(value)


def _number(value: Any, at: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(found := float(value)):
            return found
    except OverflowError:
        pass
    raise BadRequest(f"{at}: wants a number, not {_shown(value)}")


_KINDS: dict[int, Callable[[Any, str], Any]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BOOL: _yes_or_no,
    FieldDescriptor.TYPE_BYTES: _bytes,
    **{kind: partial(_integer, kind) for kind in RANGES},
    **dict.fromkeys(FRACTIONS, _number),
}


def _of_query(route: Route, said: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The same for parameters: all of them text."""
    fields = {field.name: field for field in route.others}
    made: dict[str, Any] = {}
    for name, text in said:
        in_map = _IN_MAP.fullmatch(name)
        field = fields.get(in_map[1] if in_map else name)
        if field is None or is_map(field) != bool(in_map):
            known = ", ".join(f"{it.name}[KEY]" if is_map(it) else it.name for it in fields.values()) or "none"
            raise BadRequest(f"{_shown(name)}: there is no such parameter; there are: {known}")
        if in_map:
            of = in_map_of(field)
            made.setdefault(field.name, {})[_text(in_map[2], name)] = _of_text(of, text, _shown(name))
        elif field.is_repeated:
            made.setdefault(name, []).append(_of_text(field, text, name))
        elif name in made:
            raise BadRequest(f"{name}: it was given twice")
        else:
            made[name] = _of_text(field, text, name)
    return made


def _of_text(field: FieldDescriptor, text: str, at: str) -> Any:
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _yes_or_no({"true": True, "false": False}.get(text, text), at)
    if field.type in RANGES:
        return _whole(field, text, at)
    if field.type in FRACTIONS:
        return _number(float(text) if _NUMBER.fullmatch(text) else text, at)
    return _KINDS[field.type](text, at)


def _whole(field: FieldDescriptor, text: str, at: str) -> int:
    return _integer(field.type, int(text) if _WHOLE.fullmatch(text) else text, at)


def _under(at: str, name: str) -> str:
    shown = _shown(name)
    return f"{at}.{shown}" if at else shown


def _shown(value: Any) -> str:
    """A value as a line has it: names plain, others as JSON, cut."""
    if isinstance(value, str) and re.fullmatch(r"\w+(\[[\w-]*\])?", value):
        return one_line(value, 60)
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return one_line(json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else f'"{value}"', 60)
