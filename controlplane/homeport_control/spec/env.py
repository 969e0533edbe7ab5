"""`env` and `registry_auth`: names that a revision may show, and values that nobody may see.

Covers reading both, taking values from the caller, `${{ env.X }}`, and the Secrets that the store encrypts. No message
of this module holds a value. Does not decide what a container gets besides (the run's own variables).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from homeport_control.spec.problems import Problem, closest, path_of, quoted
from homeport_control.spec.reading import is_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")
_REFERENCE = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_ENV_REFERENCE = re.compile(r"env\.([A-Za-z_][A-Za-z0-9_]*)")
MAX_NAMES = 2000
MAX_ALL = 1024 * 1024  # names and values together: Linux gives a program 2 MiB for them and its arguments
MAX_VALUE = 128 * 1024 - 4096  # Linux: MAX_ARG_STRLEN, for NAME=VALUE


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What a spec leaves out. `to_json` is for the encrypted store only."""

    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    registry_auth: RegistryAuth | None = None

    def __repr__(self) -> str:
        return f"Secrets(env=[{', '.join(self.env)}], registry_auth={'***' if self.registry_auth else None})"

    def to_json(self) -> str:
        auth = self.registry_auth
        return json.dumps(
            {
                "env": dict(self.env),
                "registry_auth": {"username": auth.username, "password": auth.password} if auth else None,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Secrets":
        """Reads what `to_json` wrote."""
        held = json.loads(text)
        auth = held["registry_auth"]
        return cls(
            env=MappingProxyType(dict(held["env"])),
            registry_auth=RegistryAuth(auth["username"], auth["password"]) if auth else None,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One variable as the document has it; `value` None: to be taken from the caller."""

    name: str
    value: str | None
    path: str


def entries(env: Any) -> tuple[tuple[Entry, ...], tuple[Problem, ...]]:
    """The variables of a list (`- NAME`, `- NAME=value`) or a map, with the problems of those that are wrong."""
    if env is None:
        return (), ()
    if not isinstance(env, Mapping | list | tuple):
        return (), (Problem("env", "must be a list or a map", "Write `- NAME=value` or `NAME: value`"),)
    found: dict[str, Entry] = {}
    problems: list[Problem] = []
    pairs = _of_map(env) if isinstance(env, Mapping) else _of_list(env)
    for item in pairs:
        if isinstance(item, Problem):
            problems.append(item)
        elif not _NAME.fullmatch(item.name):
            problems.append(Problem(item.path, "is not the name of a variable", "Letters, digits and `_`"))
        elif item.name in found:
            problems.append(Problem(item.path, f"duplicate environment variable {item.name}", "Keep one of them"))
        else:
            found[item.name] = item
    return tuple(found.values()), tuple(problems)


def wanted(env: Any) -> tuple[str, ...]:
    """Names without a value, in the document's order."""
    return tuple(entry.name for entry in entries(env)[0] if entry.value is None)


def fill(env: Any, given: Mapping[str, str]) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Values for every name of the document, then what the caller gives besides; the caller's values win."""
    found, problems = entries(env)
    if len(found) + len(given) > MAX_NAMES:
        return {}, (Problem("env", f"has more than {MAX_NAMES} variables"),)
    missing = [
        Problem(
            entry.path,
            f"Environment variable {entry.name} is not set",
            f"Pass it with `-e {entry.name}=VALUE`, or set it where you run the command",
        )
        for entry in found
        if entry.value is None and entry.name not in given
    ]
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            missing.append(Problem("", f"-e {quoted(name)}: is not the name of a variable", "Letters, digits and `_`"))
        elif not is_text(value) or len(value) > MAX_VALUE:
            missing.append(Problem("", f"-e {name}: the value is too long, or no plain text"))
    # One that is missing is there as empty text, so that a reference to it is not a second problem.
    values = {**{entry.name: entry.value or "" for entry in found}, **given}
    if sum(len(name) + len(value) for name, value in values.items()) > MAX_ALL:
        missing.append(Problem("env", f"has more than {MAX_ALL >> 20} MB of names and values", "Mount a file instead"))
    return values, (*problems, *missing)


def registry_auth(value: Any, env: Mapping[str, str]) -> tuple[RegistryAuth | None, tuple[Problem, ...]]:
    """Username and password, `${{ env.X }}` replaced by the values of `env`."""
    if value is None:
        return None, ()
    at = "registry_auth"
    if not isinstance(value, Mapping):
        return None, (Problem(at, "must be a map of `username` and `password`"),)
    known = ("username", "password")
    problems = [
        Problem(path_of((at, key)), f"unknown key {quoted(str(key))}", closest(str(key), known))
        for key in value
        if key not in known
    ]
    read: dict[str, str] = {}
    for key in known:
        text = value.get(key)
        path = f"{at}.{key}"
        if isinstance(text, bool) or not isinstance(text, str | int) or text == "":
            problems.append(Problem(path, "is missing" if text in (None, "") else "must be text", "Put it in quotes"))
            continue
        problems.extend(_bad_references(str(text), path, env))
        read[key] = _REFERENCE.sub(lambda match: _value_of(match[1], env), str(text))
    return (None if problems else RegistryAuth(**read)), tuple(problems)


def _bad_references(text: str, path: str, env: Mapping[str, str]) -> Iterator[Problem]:
    for match in _REFERENCE.finditer(text):
        name = _ENV_REFERENCE.fullmatch(match[1])
        if name is None:
            yield Problem(path, "only `${{ env.NAME }}` can stand here")
        elif name[1] not in env:
            yield Problem(path, f"Environment variable {name[1]} is not set", f"Add `- {name[1]}` to `env`")


def _value_of(reference: str, env: Mapping[str, str]) -> str:
    name = _ENV_REFERENCE.fullmatch(reference)
    return env.get(name[1], "") if name else ""


def _of_list(items: Any) -> Iterator[Entry | Problem]:
    for index, item in enumerate(items):
        path = path_of(("env", index))
        if isinstance(item, str):
            name, equals, value = item.partition("=")
            yield Entry(name.strip(), value if equals else None, path)
        elif isinstance(item, Mapping) and len(item) == 1:
            ((name, value),) = item.items()
            yield _entry(str(name), value, path)
        else:
            yield Problem(path, "must be `NAME` or `NAME=value`")


def _of_map(items: Mapping[str, Any]) -> Iterator[Entry | Problem]:
    for name, value in items.items():
        yield _entry(name, value, path_of(("env", name)))


def _entry(name: str, value: Any, path: str) -> Entry | Problem:
    if value is None or isinstance(value, str):
        return Entry(name, value, path)
    if isinstance(value, bool | int | float):
        return Entry(name, json.dumps(value), path)
    return Problem(path, "must be text", "Put it in quotes")
