"""Templates and static files: how values become pages.

Every value is escaped (autoescape); templates make no markup of what others wrote. Static files lie under a path with a hash of
all of them, so that a browser keeps them for ever and a new version is another path.
"""

import hashlib
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

PACKAGE = "homeport_control.dashboard"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Static:
    """The files that pages need besides themselves, in memory: they are small."""

    version: str
    files: dict[str, tuple[str, bytes]]  # type and content, by name


def load_static() -> Static:
    whole, files = hashlib.sha256(), {}
    for file in sorted(importlib.resources.files(PACKAGE).joinpath("static").iterdir(), key=lambda it: it.name):
        kind = next((kind for suffix, kind in TYPES.items() if file.name.endswith(suffix)), "")
        if kind:
            content = file.read_bytes()
            whole.update(file.name.encode() + b"\0" + content)
            files[file.name] = (kind, content)
    return Static(whole.hexdigest()[:12], files)


class Renderer:
    def __init__(self, static: Static) -> None:
        self._loader = PackageLoader(PACKAGE)
        self._environment = Environment(
            loader=self._loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._parts: dict[str, Callable[[str, Any], str]] = {}  # by kind
        self._environment.globals["static"] = f"/static/{static.version}"
        self._environment.filters["iso"] = iso
        for name in self._loader.list_templates():  # now: a reader does not wait for it
            if name.startswith("parts/"):
                kind = name.removeprefix("parts/").removesuffix(".html")
                self._parts[kind] = self._macro(kind)
            else:
                self._environment.get_template(name)

    def page(self, template: str, /, **values: Any) -> str:
        return self._environment.get_template(f"{template}.html").render(values)

    def part(self, kind: str, key: str, cell: Any) -> str:
        """A fragment, whose element has `key` as its id."""
        return str(self._parts[kind](key, cell))

    def _macro(self, kind: str) -> Callable[[str, Any], str]:
        """Hundreds are drawn each second, and a macro is drawn in half of the time of a template."""
        source, _, _ = self._loader.get_source(self._environment, f"parts/{kind}.html")
        text = "{% macro part(key, it) %}" + source + "{% endmacro %}"
        made: Callable[[str, Any], str] = self._environment.from_string(text).module.part  # type: ignore[attr-defined]
        return made


def iso(at_s: float) -> str:
    """For <time datetime>; the browser shows it in its reader's zone."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
