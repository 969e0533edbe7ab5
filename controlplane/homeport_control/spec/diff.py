"""What differs between two versions of a service, in the words of the language. Values of secrets are never told."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from homeport_control.spec.base import Shown
from homeport_control.spec.env import Secrets
from homeport_control.spec.problems import path_of
from homeport_control.spec.service import ServiceSpec

HIDDEN = "***"
_NAMES_OF_SECRETS = frozenset({"env", "registry_auth"})
_MAY_CARRY_ONE = re.compile(r"probes\[\d+\]\.(headers\[\d+\]\.value|body)")  # a probe may have to log in


@dataclass(frozen=True, slots=True)
class Change:
    """Empty `old`: it was not there; empty `new`: it is not there any more."""

    path: str
    old: str
    new: str


def diff(old: ServiceSpec, old_secrets: Secrets, new: ServiceSpec, new_secrets: Secrets) -> tuple[Change, ...]:
    """Every value that differs, by the order of the keys; () when applying `new` would change nothing."""
    before, after = dict(leaves(old)), dict(leaves(new))
    changes = [
        Change(path, _shown(path, before.get(path, "")), _shown(path, after.get(path, "")))
        for path in sorted(dict.fromkeys((*before, *after)), key=_place)
        if before.get(path, "") != after.get(path, "")
    ]
    changes.extend(
        Change(path_of(("env", name)), _hidden(name in old_secrets.env), _hidden(name in new_secrets.env))
        for name in dict.fromkeys((*old_secrets.env, *new_secrets.env))
        if old_secrets.env.get(name) != new_secrets.env.get(name)
    )
    if old_secrets.registry_auth != new_secrets.registry_auth:
        changes.append(Change("registry_auth", _hidden(old_secrets.registry_auth), _hidden(new_secrets.registry_auth)))
    return tuple(changes)


def leaves(spec: BaseModel, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Path and text of every value that is set, secrets left out."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        path = (*at, field.alias or name)
        if value in (None, ()) or (not at and name in _NAMES_OF_SECRETS):
            continue
        shown = next((mark for mark in field.metadata if isinstance(mark, Shown)), None)
        if shown is not None:
            yield path_of(path), shown.text(value)
        else:
            yield from _texts(value, path)


def _place(path: str) -> int:
    key = path.split(".")[0].split("[")[0]
    keys = [field.alias or name for name, field in ServiceSpec.model_fields.items()]
    return keys.index(key)


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from leaves(value, path)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, bool):
        yield path_of(path), "true" if value else "false"
    else:
        yield path_of(path), str(value)


def _shown(path: str, text: str) -> str:
    return _hidden(text) if _MAY_CARRY_ONE.fullmatch(path) else text


def _hidden(there: object) -> str:
    return HIDDEN if there else ""
