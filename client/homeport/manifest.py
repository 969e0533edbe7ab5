"""The configuration file: found, read as YAML with line marks, sent as it is.

Covers the search, YAML's own mistakes, and which line a problem of the server belongs to. Knows no key of the language:
the server alone does. A scalar that JSON would change (`3.10`, `on`, `0755`, `12:30`) is sent as the text that it is
written as, so that nothing is lost before the server reads it.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import yaml
from homeport_protos.text import one_line

from homeport.errors import Invalid

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000  # aliases counted each time: the bound on what a few lines of anchors can grow to

_ONE_OF_THESE = (".dstack.yml", ".dstack.yaml", ".homeport.yml")
_ENDINGS = (".dstack.yml", ".dstack.yaml", ".homeport.yml", ".homeport.yaml")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LAST_PART = re.compile(r'(\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]+\]|\["(?:[^"\\]|\\.)*"\])$')
_TAG = "tag:yaml.org,2002:"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class ProblemLike(Protocol):
    """What the server says about a document (`homeport_protos.api.v1.Problem`)."""

    @property
    def path(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...


class BadManifest(Invalid):
    """The file cannot be found or read; the line says which, where and why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    path: Path | None  # None: it never was a file
    document_json: str
    lines: Mapping[str, int]  # of every value: "resources.gpu" -> 12, counted from 1

    def line_of(self, problem_path: str) -> int | None:
        """The line of a key or of its nearest parent; None for what stands nowhere in the file."""
        path = problem_path
        while path:
            if path in self.lines:
                return self.lines[path]
            shorter = _LAST_PART.sub("", path)
            path = shorter if shorter != path else ""
        return None

    def refuse(self, problems: Sequence[ProblemLike]) -> None:
        """Raises Invalid with all of them; without any there is nothing to refuse."""
        if problems:
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            raise Invalid(f"{self.path or 'the document'} has {count}:", self.problem_lines(problems))

    def problem_lines(self, problems: Iterable[ProblemLike]) -> list[str]:
        """`FILE:LINE: path: message. hint`, by line; what concerns the whole file comes first."""
        placed = [(self.line_of(problem.path), problem) for problem in problems]
        placed.sort(key=lambda item: item[0] or 0)
        return [
            ": ".join(part for part in (_place(self.path, line), problem.path, problem.message) if part)
            + (f". {problem.hint}" if problem.hint else "")
            for line, problem in placed
        ]


def load(path: Path | None = None, folder: Path | None = None) -> Manifest:
    """Read `path`, or the configuration file of `folder` (default: the current one). Raises BadManifest."""
    if path is not None and path.is_dir():
        path, folder = None, path
    file = path if path is not None else find(folder or Path())
    return parse(_read(file), file)


def find(folder: Path) -> Path:
    """The folder's configuration file by REFERENCE's rules. Raises BadManifest, which lists what was found."""
    for name in _ONE_OF_THESE:
        if (folder / name).is_file():
            return folder / name
    found = (
        sorted(entry for entry in folder.iterdir() if entry.name.endswith(_ENDINGS) and entry.is_file())
        if folder.is_dir()
        else []
    )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(entry.name for entry in found)
        raise BadManifest(f"{len(found)} configuration files in {folder.resolve()}: {names}. Choose one with -f")
    yaml_files = sorted(entry.name for entry in folder.glob("*.y*ml"))[:10] if folder.is_dir() else []
    also = f" (there is {', '.join(yaml_files)})" if yaml_files else ""
    raise BadManifest(
        f"no configuration file in {folder.resolve()}: looked for {', '.join(_ONE_OF_THESE)} "
        f"and one *.dstack.yml or *.homeport.yml{also}. Name one with -f"
    )


def parse(text: str, path: Path) -> Manifest:
    """The document of a YAML text. Raises BadManifest with line and column."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise BadManifest(one_line(_yaml_sentence(error, path, text))) from None
    except RecursionError:
        raise BadManifest(f"{path}: is nested too deeply") from None
    if root is None:
        raise BadManifest(f"{path}: is empty. Start with `type: service`")
    reader = _Reader(path)
    value = reader.value(root, "")
    return Manifest(path, json.dumps(value), MappingProxyType(reader.lines))


def of_mapping(content: Mapping[str, Any]) -> Manifest:
    """A document that was made in a program. Raises BadManifest."""
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadManifest(f"the document is not made of what JSON knows: {one_line(str(error))}") from None
    return Manifest(None, text, MappingProxyType({}))


class _Reader:
    """Turns YAML's nodes into JSON values, and keeps the line of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self._open: list[yaml.Node] = []  # from the root to here: an alias to one of them never ends
        self._nodes = 0

    def value(self, node: yaml.Node, at: str) -> Json:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._bad(node, f"grows to more than {MAX_NODES} values through its aliases")
        if any(node is outer for outer in self._open):
            raise self._bad(node, "an alias stands inside of what it stands for")
        if len(self._open) > 100:
            raise self._bad(node, "is nested too deeply")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                self._check_tag(node, "map")
                return self._map(node, at)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                return [self._item(inner, f"{at}[{index}]") for index, inner in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.pop()

    def _map(self, node: yaml.MappingNode, at: str) -> dict[str, Json]:
        found: dict[str, Json] = {}
        first_line: dict[str, int] = {}
        merged: dict[str, Json] = {}
        merges = [pair for pair in node.value if pair[0].tag == f"{_TAG}merge"]
        for _, value_node in merges:  # first, so that the lines of the map's own keys win
            for name, inner in self._merge(value_node, at).items():
                merged.setdefault(name, inner)
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            name = self._key(key_node)
            line = key_node.start_mark.line + 1
            if name in found:
                raise self._bad(key_node, f"duplicate key `{name}`, first in line {first_line[name]}. Keep one of them")
            first_line[name] = line
            path = _join(at, name)
            self.lines[path] = line
            found[name] = self.value(value_node, path)
        return {**merged, **found} if merged else found

    def _merge(self, node: yaml.Node, at: str) -> dict[str, Json]:
        """`<<: *anchor`, or a list of them; the first has a key's value."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Json] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise self._bad(part, "`<<` takes a map, or a list of maps")
            inner = self.value(part, at)
            for name, value in inner.items() if isinstance(inner, dict) else ():
                merged.setdefault(name, value)
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._bad(node, "a key must be plain text")
        return str(node.value)

    def _item(self, node: yaml.Node, at: str) -> Json:
        self.lines[at] = node.start_mark.line + 1
        return self.value(node, at)

    def _scalar(self, node: yaml.Node) -> Json:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        if getattr(node, "style", None) is not None or kind in {"str", "timestamp", "merge", "value"}:
            self._check_tag(node, "str", "timestamp", "merge", "value")
            return text
        self._check_tag(node, "null", "bool", "int", "float")
        if kind == "null":
            return None
        return _if_json_keeps_it(text)

    def _check_tag(self, node: yaml.Node, *known: str) -> None:
        if node.tag.removeprefix(_TAG) not in known:
            raise self._bad(node, f"the tag `{node.tag.replace(_TAG, '!!')}` cannot stand in a configuration")

    def _bad(self, node: yaml.Node, message: str) -> BadManifest:
        mark = node.start_mark
        return BadManifest(one_line(f"{self.path}:{mark.line + 1}:{mark.column + 1}: {message}"))


def _if_json_keeps_it(text: str) -> Json:
    """The number or boolean, when its JSON form is what is written; else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, bool | int | float) and json.dumps(value) == text else text


def _join(at: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{at}[{json.dumps(key)}]"
    return f"{at}.{key}" if at else key


def _place(path: Path | None, line: int | None) -> str:
    return f"{path}:{line}" if line is not None else str(path or "")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadManifest(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise BadManifest(f"{path} is larger than 1 MB: that is no configuration file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadManifest(f"{path}:{line}: is not UTF-8 text. Save the file as UTF-8") from None


def _yaml_sentence(error: yaml.YAMLError, path: Path, text: str) -> str:
    """PyYAML's several lines as one."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: holds the character #x{error.character:04x}, which YAML does not allow"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        hint = ""
        if error.problem and "'\\t'" in error.problem:
            hint = ". Indent with blanks, not tabs"
        elif error.problem and "mapping values are not allowed" in error.problem:
            hint = ". Text with `: ` in it needs quotes"
        return f"{place}: broken YAML: {said}{hint}"
    return f"{path}: broken YAML: {' '.join(str(error).split())}"
