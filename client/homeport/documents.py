"""From a configuration to the API's Document: the name, and the environment values that the document asks for.

The file goes as it is; the server alone knows the language and says what is wrong. Looked at here is only what the
server cannot know: which names under `env` have no value, because those values come from the caller's environment.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from homeport_protos.api.v1 import api_pb2

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a variable


def document(
    document_json: str, *, name: str | None, env: Mapping[str, str], environ: Mapping[str, str], reuse: bool
) -> api_pb2.Document:
    """`env` goes along as it is, and wins; of `environ` only what the document asks for."""
    asked = {key: environ[key] for key in wanted_names(json.loads(document_json)) if key in environ}
    return api_pb2.Document(json=document_json, name=name or "", env={**asked, **env}, reuse=reuse)


def wanted_names(content: Any) -> list[str]:
    """The names under `env` that have no value: `- NAME` in a list, `NAME:` in a map."""
    env = content.get("env") if isinstance(content, dict) else None
    if isinstance(env, dict):
        return [key for key, value in env.items() if value is None and isinstance(key, str)]
    if isinstance(env, list):
        return [item for item in env if isinstance(item, str) and NAME.fullmatch(item)]
    return []


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
