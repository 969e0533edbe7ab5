"""`files` of a document: what of this machine lands where in the container.

What is not shaped as the language wants is passed over: the server says so. Does not cover which files of a folder are sent
(`selection`).
"""

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from homeport_protos.api.v1 import api_pb2
from homeport_protos.code import WORKFLOW

from homeport.code.words import shown


@dataclass(frozen=True, slots=True)
class Mapped:
    index: int
    local: str  # absolute, symlinks followed
    place: str  # absolute path in the container
    is_folder: bool


def read(content: Any, folder: str) -> tuple[list[Mapped], list[api_pb2.Problem]]:
    """`content` is the document, `folder` that of its file. Problems name `files[0]` as those of the server do."""
    mapped: list[Mapped] = []
    problems: list[api_pb2.Problem] = []
    for index, local, place in _pairs(content):
        found = _one(index, local, place, folder)
        if isinstance(found, Mapped):
            mapped.append(found)
        else:
            problems.append(found)
    return mapped, problems


def _pairs(content: Any) -> Iterator[tuple[int, str, str]]:
    """`- local`, `- local:place`, `- {local_path, path}`."""
    given = content.get("files") if isinstance(content, dict) else None
    for index, item in enumerate(given if isinstance(given, list) else ()):
        local: Any
        place: Any
        if isinstance(item, str):
            local, _, place = item.partition(":")
            place = place or local
        elif isinstance(item, Mapping):
            local, place = item.get("local_path"), item.get("path")
        else:
            continue
        if isinstance(local, str) and isinstance(place, str) and local and place:
            yield index, local, place


def _one(index: int, local: str, place: str, folder: str) -> Mapped | api_pb2.Problem:
    path = f"files[{index}]"
    if place.startswith("~"):
        hint = f"Write `{local}:/path/in/the/container`"
        return api_pb2.Problem(path=path, message="`~` says nothing about where it lands in the container", hint=hint)
    target = posixpath.normpath(posixpath.join(WORKFLOW, place))
    target = f"/{target.lstrip('/')}"
    if not place.startswith("/") and not f"{target}/".startswith(f"{WORKFLOW}/"):
        hint = f"Write `{local}:/path/in/the/container`"
        return api_pb2.Problem(path=path, message=f"`{place}` leads out of {WORKFLOW} in the container", hint=hint)
    there = os.path.realpath(os.path.join(folder, os.path.expanduser(local)))
    if not os.path.exists(there):
        hint = f"Looked for {shown(there)}"
        return api_pb2.Problem(path=path, message=f"there is no `{shown(local)}` on this machine", hint=hint)
    is_folder = os.path.isdir(there)
    if target == "/" or (not is_folder and posixpath.dirname(target) == "/"):
        hint = "Put it into a folder of the container"
        return api_pb2.Problem(path=path, message=f"nothing can be put to `{target}` itself", hint=hint)
    return Mapped(index, there, target, is_folder)
