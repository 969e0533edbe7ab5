"""The door of the language: a document in, a frozen spec and its secrets out, or every problem at once."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar

from homeport_control.spec import env as env_language
from homeport_control.spec import fleet, service
from homeport_control.spec.env import Secrets
from homeport_control.spec.fleet import FleetSpec
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.problems import BadDocument, Mistake, Problem, closest, quoted
from homeport_control.spec.reading import MAX_PROBLEMS, MAX_VALUES, broken, in_order, read, size
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.words import resource_name

Spec = ServiceSpec | FleetSpec | GatewaySpec
S = TypeVar("S", ServiceSpec, FleetSpec, GatewaySpec)
NO_SECRETS = Secrets()
NO_ENV: Mapping[str, str] = MappingProxyType({})

MAX_JSON = 6 << 20  # a file of 1 MB whose letters all become escapes
_TYPES = ("service", "fleet", "gateway")
_NOT_OURS = ("volume", "task", "dev-environment")


@dataclass(frozen=True, slots=True)
class Parsed:
    """`spec` may be shown and stored as it is; `secrets` only encrypted."""

    spec: Spec
    secrets: Secrets = NO_SECRETS


def parse(document: object, *, env: Mapping[str, str] = NO_ENV, name: str = "", reuse: bool = False) -> Parsed:
    """Read a document of any type.

    `env` holds the caller's values: for the names that the document asks for, and `-e` besides; they win over the
    document's own. `name` and `reuse` are the command line's `-n` and `--reuse`. Raises BadDocument.
    """
    fields = _fields(document)
    kind = _type_of(fields)
    if name:
        fields = {**fields, "name": _given_name(name)}
    if kind == "service":
        return parse_service({**fields, "creation_policy": "reuse"} if reuse else fields, env=env)
    if kind == "fleet":
        fleet_spec, problems = read(FleetSpec, fields)
        return Parsed(_whole(fleet_spec, (*problems, *fleet.rules(fields)), fields))
    gateway_spec, problems = read(GatewaySpec, fields)
    return Parsed(_whole(gateway_spec, problems, fields))


def parse_service(document: object, *, env: Mapping[str, str] = NO_ENV) -> Parsed:
    """Read a service. Raises BadDocument."""
    fields = _fields(document)
    values, env_problems = env_language.fill(fields.get("env"), env)
    auth, auth_problems = env_language.registry_auth(fields.get("registry_auth"), values)
    # The models never see a value: pydantic keeps its input in every error.
    shown = {**fields, "env": list(values), "registry_auth": fields.get("registry_auth") is not None}
    spec, problems = read(ServiceSpec, shown)
    spec = _whole(spec, (*service.rules(fields), *problems, *env_problems, *auth_problems), fields)
    return Parsed(spec, Secrets(env=MappingProxyType(values), registry_auth=auth))


def load_json(text: str) -> object:
    """The document of the wire. Raises BadDocument for what is no JSON."""
    if len(text) > MAX_JSON:
        raise BadDocument([Problem("", f"is larger than {MAX_JSON >> 20} MB: that is no configuration")])
    try:
        loaded: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadDocument([Problem("", f"is no JSON document: {str(error)[:100]}")]) from None
    return loaded


def env_wanted(document: object) -> tuple[str, ...]:
    """The names of `env` that have no value in the document; () when it is no service."""
    try:
        fields = _fields(document)
    except BadDocument:
        return ()
    return env_language.wanted(fields.get("env")) if fields.get("type") == "service" else ()


def _fields(document: object) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise BadDocument([Problem("", "is not a configuration: it must be a map of keys and values")])
    if not document:
        raise BadDocument([Problem("", "is empty", "Start with `type: service`")])
    if size(document) > MAX_VALUES:
        raise BadDocument([Problem("", f"has more than {MAX_VALUES} values: that is no configuration")])
    if problems := tuple(islice(broken(document), MAX_PROBLEMS)):
        raise BadDocument(problems)
    return dict(document)


def _type_of(fields: Mapping[str, Any]) -> str:
    kind = fields.get("type")
    if kind is None:
        raise BadDocument([Problem("type", "is missing", "Add `type: service`, `fleet` or `gateway`")])
    if kind in _NOT_OURS:
        raise BadDocument(
            [Problem("type", f"`{kind}` cannot be applied: Homeport runs services", "Use `type: service`")]
        )
    if kind not in _TYPES:
        raise BadDocument([Problem("type", f"{quoted(kind)} is not known here", closest(str(kind)[:60], _TYPES))])
    return str(kind)


def _given_name(name: str) -> str:
    try:
        return resource_name(name)
    except Mistake as mistake:
        raise BadDocument([Problem("", f"-n: {mistake.message}", mistake.hint)]) from None


def _whole(spec: S | None, problems: Iterable[Problem], fields: Mapping[str, Any]) -> S:
    found = in_order(problems, fields)
    if spec is None or found:
        raise BadDocument(found)
    return spec
