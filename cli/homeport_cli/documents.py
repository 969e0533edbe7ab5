"""From a configuration file to the API's Document: the name, and the environment values that the document asks for.

The file goes as it is; the server alone knows the language and says what is wrong. Looked at here is only what the
server cannot know: which names under `env` have no value, because those values come from the caller's environment.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from homeport_protos.api.v1 import api_pb2

from homeport_cli.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def document(
    document_json: str,
    *,
    name: str | None,
    settings: Sequence[str],
    environ: Mapping[str, str],
    reuse: bool,
) -> api_pb2.Document:
    """`settings` are the values of -e. Raises UsageError for one that is malformed or not set."""
    env = {key: environ[key] for key in wanted_names(json.loads(document_json)) if key in environ}
    env.update(parse_settings(settings, environ))
    return api_pb2.Document(json=document_json, name=name or "", env=env, reuse=reuse)


def wanted_names(content: Any) -> list[str]:
    """The names under `env` that have no value: `- NAME` in a list, `NAME:` in a map."""
    env = content.get("env") if isinstance(content, dict) else None
    if isinstance(env, dict):
        return [key for key, value in env.items() if value is None and isinstance(key, str)]
    if isinstance(env, list):
        return [item for item in env if isinstance(item, str) and _NAME.fullmatch(item)]
    return []


def parse_settings(settings: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """-e NAME=VALUE, or -e NAME with the value of the caller's environment."""
    values: dict[str, str] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not _NAME.fullmatch(key):
            raise UsageError("-e: write NAME=VALUE or NAME; a name is letters, digits and _, and starts with no digit")
        if not separator and key not in environ:
            raise UsageError(f"Environment variable {key} is not set; set it, or write -e {key}=VALUE")
        values[key] = value if separator else environ[key]
    return values


def kind_of(document_json: str) -> str:
    """Its `type`; empty when it says none."""
    content = json.loads(document_json)
    kind = content.get("type") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def sends_code(content: Any) -> bool:
    """Whether code goes along with a document of its type: only with a service."""
    return isinstance(content, dict) and content.get("type") == "service"


def sends_folder(content: Any) -> bool:
    """Whether the document's own folder goes along; not with `repo: false`, however YAML spells that."""
    value = content.get("repo") if isinstance(content, dict) else None
    return value is not False and not (isinstance(value, str) and value.strip().lower() in {"false", "no", "off"})


def named(document_json: str, what: str) -> str:
    """The name in a fleet's or a gateway's document. Raises UsageError."""
    name = json.loads(document_json).get("name")
    if not isinstance(name, str) or not name:
        raise UsageError(f"the file gives no `name`, so it does not say which {what} is meant")
    return name


def run_name(document_json: str) -> str:
    """The name that the document gives its run. Raises UsageError."""
    content = json.loads(document_json)
    name = content.get("name") if isinstance(content, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError("the file gives no `name`, so it does not say which run is meant; use `homeport stop NAME`")
    kind = content.get("type")
    if kind != "service":
        raise UsageError(
            f"`delete` of the type `{kind}` is not supported yet; it deletes services, fleets and gateways"
        )
    return name
