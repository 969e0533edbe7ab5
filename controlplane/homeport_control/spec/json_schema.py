"""The language as a JSON schema (draft 2020-12), for editors: keys, short forms, words that may stand, descriptions.

Made from the models: a field's type, and the unit in its name, say which spellings its reader takes; what a reader takes
besides stands in WRITTEN and SHORT. It accepts every document that `document.parse` accepts (a property test holds that),
and refuses unknown keys and values of another kind. What it does not cover: rules between keys.
"""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from homeport_control.spec.base import Shown
from homeport_control.spec.fleet import FleetHost, FleetSpec, ProxyJump, SshConfig, Wake
from homeport_control.spec.gateway import Certificate, GatewaySpec
from homeport_control.spec.gateway_host import GatewayHost
from homeport_control.spec.gpu import VENDORS, GpuSpec
from homeport_control.spec.probes import Header, Probe
from homeport_control.spec.ranges import Range
from homeport_control.spec.resources import Resources
from homeport_control.spec.retry import Retry
from homeport_control.spec.routing import LoadBalancing
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.traffic import MAX_MODEL_NAMES, ModelRoute, RateLimit
from homeport_control.spec.volumes import FileMapping, Volume

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TYPES: Final[dict[str, type[BaseModel]]] = {"service": ServiceSpec, "fleet": FleetSpec, "gateway": GatewaySpec}


def schema() -> Schema:
    """The schema of a configuration file."""
    definitions: dict[str, Schema] = {}
    models: list[type[BaseModel]] = [*TYPES.values(), Header, Retry]  # the last two only WRITTEN names
    for model in models:
        _define(model, definitions)
    for definition in definitions.values():
        definition.pop("title", None)
    return {
        "$schema": DIALECT,
        "title": "A configuration of Homeport",
        "description": "What `homeport apply` takes: a service, a fleet or a gateway.",
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(TYPES), "description": "What it describes"}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{model.__name__}"},
            }
            for kind, model in TYPES.items()
        ],
        "$defs": dict(sorted(definitions.items())),
    }


def _words(*words: str) -> str:
    """A pattern for any of the words; JSON schema has no flag for "in any case"."""
    return "|".join("".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in word) for word in words)


def _text(pattern: str, *examples: object) -> Schema:
    found: Schema = {"type": "string", "pattern": rf"^\s*({pattern})\s*$"}
    return {**found, "examples": list(examples)} if examples else found


def _either(*ways: Schema) -> Schema:
    return {"anyOf": list(ways)}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _map_of(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item}


_WHOLE = r"-?(0|[1-9][0-9]*)"
_DECIMAL = r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
_MEMORY = rf"[0-9]+(\.[0-9]+)?\s*({_words('mb', 'gb', 'tb')})?"
_TEXT: Schema = {"type": "string"}
_NULL: Schema = {"type": "null"}
_BOOLEAN = _either({"type": "boolean"}, _text(_words("true", "yes", "on", "y", "false", "no", "off", "n")))
_INTEGER = _either({"type": "integer"}, _text(_WHOLE))
_NUMBER = _either({"type": "number"}, _text(_DECIMAL))
_SIZE = _either({"type": "number"}, _text(_MEMORY, "512MB", "16GB", "1TB"))
_DURATION = _either(
    {"type": "integer", "minimum": 0},
    _text(rf"[0-9]+\s*({_words('s', 'sec', 'm', 'min', 'h', 'd', 'w')})?", "30s", "5m", "2h", "3d", "1w"),
)
_OFF = _either({"const": False}, _text(_words("off", "false"), "off"))
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,40}$"}


def _range(end: Schema, pattern: str, *examples: object) -> Schema:
    """`a..b`, `a..`, `..b`, a single value, or a map of both ends."""
    ends = {"min": _either(end, _NULL), "max": _either(end, _NULL)}
    between = rf"({pattern})\s*\.\.\s*({pattern})?|\.\.\s*({pattern})"
    return _either(
        *end["anyOf"],
        _text(between, *examples),
        {"type": "object", "properties": ends, "additionalProperties": False, "minProperties": 1},
    )


_MEMORY_RANGE = _range(_SIZE, _MEMORY, "16GB..", "24GB..40GB")
_INTEGER_RANGE = _range(_INTEGER, _WHOLE, "2..", "1..8")
_NUMBER_RANGE = _range(_NUMBER, _DECIMAL, "8.0..")

# What a model takes instead of a map.
SHORT: dict[type[BaseModel], tuple[Schema, ...]] = {
    GpuSpec: (
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": "^[^:]*[^:\\s][^:]*(:[^:]*[^:\\s][^:]*)*$", "examples": ["24GB", "A100:80GB:2"]},
    ),
    Volume: ({"type": "string", "pattern": "^[^:]+:/.+$", "examples": ["/data:/data", "models:/models"]},),
    FileMapping: ({"type": "string", "minLength": 1},),
    ModelRoute: ({"type": "string", "minLength": 1},),
    LoadBalancing: ({"enum": ["least_request", "none", "cookie", "prefix"]},),
    ProxyJump: (_TEXT,),
    FleetHost: (_TEXT,),
    GatewayHost: ({"type": "string", "minLength": 1, "examples": ["local", "ops@edge.example.com"]},),
    Wake: (_TEXT,),
    Certificate: ({"enum": ["lets-encrypt", "acme", "files", "self-signed", "none"]},),
}

# Fields whose readers take more, or less, than their types say.
WRITTEN: dict[tuple[type[BaseModel], str], Schema] = {
    (ServiceSpec, "python"): {
        "enum": [f"3.{minor}" for minor in range(9, 15)] + [3.9, 3.1, 3.11, 3.12, 3.13, 3.14],
    },
    (ServiceSpec, "registry_auth"): {
        "type": "object",
        "properties": {
            key: {"description": f"{what} `${{{{ env.NAME }}}}` takes it from `env`", "type": ["string", "integer"]}
            for key, what in (("username", "Who pulls the image."), ("password", "The password, or a token."))
        },
        "required": ["username", "password"],
        "additionalProperties": False,
    },
    (ServiceSpec, "entrypoint"): _either(_TEXT, _list_of(_TEXT)),
    (ServiceSpec, "user"): {"type": ["string", "integer"]},
    (ServiceSpec, "home_dir"): {"type": "string", "pattern": "^/"},
    (ServiceSpec, "env"): _either(
        _list_of(_either(_TEXT, {**_map_of({"type": ["string", "number", "boolean", "null"]}), "maxProperties": 1})),
        _map_of({"type": ["string", "number", "boolean", "null"]}),
    ),
    (ServiceSpec, "host_labels"): _either(_list_of(_TEXT), _map_of({"type": ["string", "integer"]})),
    (ServiceSpec, "port"): _either(
        {"type": "integer", "minimum": 1, "maximum": 65535},
        _text(r"([0-9]{1,5}\s*:\s*)?[0-9]{1,5}", "80:8000"),
    ),
    (ServiceSpec, "retry"): _either(*_BOOLEAN["anyOf"], {"$ref": "#/$defs/Retry"}),
    (ServiceSpec, "https"): _either({"const": "auto"}, *_BOOLEAN["anyOf"]),
    (ServiceSpec, "max_body_size"): _either(*_SIZE["anyOf"], *_OFF["anyOf"]),
    (ServiceSpec, "creation_policy"): {"enum": ["reuse", "reuse-or-create", "reuse_or_create"]},
    (Resources, "disk"): _either(
        *_MEMORY_RANGE["anyOf"],
        {"type": "object", "properties": {"size": _MEMORY_RANGE}, "required": ["size"], "additionalProperties": False},
    ),
    (GpuSpec, "vendor"): _text(_words(*VENDORS), *VENDORS),
    (GpuSpec, "name"): _either(_TEXT, _list_of(_TEXT)),
    (Probe, "method"): _text(_words("get", "post", "put", "patch", "delete", "head", "options"), "get", "post"),
    (Probe, "headers"): _either(_list_of({"$ref": "#/$defs/Header"}), _map_of({"type": ["string", "integer"]})),
    (Header, "value"): {"type": ["string", "integer"]},
    (ModelRoute, "name"): _either(_TEXT, {**_list_of(_TEXT), "minItems": 1, "maxItems": MAX_MODEL_NAMES}),
    (RateLimit, "key"): _either(
        {"enum": ["ip", "header", "token"]},
        {
            "type": "object",
            "properties": {"type": {"enum": ["ip_address", "ip", "header", "token"]}, "header": _TEXT},
            "required": ["type"],
            "additionalProperties": False,
        },
    ),
    (FleetSpec, "labels"): _map_of({"type": ["string", "integer"]}),
    (SshConfig, "hosts"): {**_list_of({"$ref": "#/$defs/FleetHost"}), "minItems": 1},
    (GatewaySpec, "domain"): {"type": "string", "minLength": 1, "examples": ["example.com"]},
}
for _model in (ServiceSpec, FleetSpec, GatewaySpec):
    WRITTEN[_model, "name"] = _NAME
WRITTEN[ServiceSpec, "gateway"] = _NAME

# Older names of keys, and the key that each stands for.
OLD_KEYS = {"termination_idle_time": "idle_duration"}


def _define(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    """A reference to the model's definition, which is made at the first call."""
    reference = {"$ref": f"#/$defs/{model.__name__}"}
    if model.__name__ in definitions:
        return reference
    definitions[model.__name__] = {}  # its fields may refer to it
    properties, required = {}, []
    for name, field in model.model_fields.items():
        key = field.alias or name
        properties[key] = _property(model, key, name, field, definitions)
        if field.is_required() or (model in TYPES.values() and key == "type"):
            required.append(key)
    properties |= {old: properties[new] for old, new in OLD_KEYS.items() if new in properties}
    long: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        long["required"] = required
    made = _either(*SHORT[model], long) if model in SHORT else long
    doc = (model.__doc__ or "").strip()
    definitions[model.__name__] = {"description": doc, **made} if doc and doc != BaseModel.__doc__ else made
    return reference


def _property(model: type[BaseModel], key: str, name: str, field: FieldInfo, definitions: dict[str, Schema]) -> Schema:
    written = WRITTEN.get((model, key))
    for inner in _models_in(field.annotation):
        _define(inner, definitions)
    made = dict(written or _of_type(field.annotation, name, definitions))
    is_kind = key == "type" and model in TYPES.values()
    if not field.is_required() and not is_kind:  # a key without a value is as good as none
        ways = made.pop("anyOf", None)
        made = {"anyOf": [*(ways or [made]), _NULL]}
    about: Schema = {"description": field.description} if field.description else {}
    default = _default(field)
    return {**about, **made, **({} if default is None or is_kind else {"default": default})}


def _of_type(annotation: Any, name: str, definitions: dict[str, Schema]) -> Schema:
    arguments = get_args(annotation)
    plain = [inner for inner in arguments if inner is not type(None)]
    if get_origin(annotation) in (Union, UnionType):
        made = _of_type(plain[0], name, definitions)
        # None of a duration is a word of the language; of anything else it is a key without a value.
        is_off = name.endswith("_s") and len(plain) < len(arguments)
        return _either(*made["anyOf"], *_OFF["anyOf"]) if is_off else made
    if get_origin(annotation) is Literal:
        return {"enum": list(arguments)}
    if get_origin(annotation) is tuple:
        return _list_of(_of_type(arguments[0], name, definitions))
    if hasattr(annotation, "__metadata__"):
        return _of_type(annotation.__origin__, name, definitions)
    if get_origin(annotation) is Range or annotation is Range:
        return _MEMORY_RANGE if name.endswith("_mib") else _INTEGER_RANGE if int in arguments else _NUMBER_RANGE
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _define(annotation, definitions)
    if annotation is int:
        return _DURATION if name.endswith("_s") else _SIZE if name.endswith("_mib") else _INTEGER
    known: dict[Any, Schema] = {bool: _BOOLEAN, float: _NUMBER, str: _TEXT}
    if annotation not in known:
        raise TypeError(f"{name}: add how {annotation} is written to WRITTEN")
    return known[annotation]


def _default(field: FieldInfo) -> Any:
    value = field.default
    if field.is_required() or value is None:
        return None
    shown = next((mark for mark in field.metadata if isinstance(mark, Shown)), None)
    if shown is not None:
        return shown.text(value)
    return None if isinstance(value, tuple | BaseModel | dict) else value


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
