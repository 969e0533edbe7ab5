"""What the command line reads of flags and of documents by itself: the values of -e, and whom `delete` means.

What it does not cover: what goes to the server (`homeport.documents`).
"""

import json
from collections.abc import Mapping, Sequence

from homeport.documents import NAME

from homeport_cli.errors import UsageError


def parse_settings(settings: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """-e NAME=VALUE, or -e NAME with the value of the caller's environment."""
    values: dict[str, str] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not NAME.fullmatch(key):
            raise UsageError("-e: write NAME=VALUE or NAME; a name is letters, digits and _, and starts with no digit")
        if not separator and key not in environ:
            raise UsageError(f"Environment variable {key} is not set; set it, or write -e {key}=VALUE")
        values[key] = value if separator else environ[key]
    return values


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
