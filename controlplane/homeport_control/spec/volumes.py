"""`volumes` and `files`: what a container finds in its file system besides its image."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from homeport_control.spec.base import Model, reads
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.scalars import yes_or_no

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HINT = "Write `/host/path:/container/path`, `name:/container/path` or `{instance_path, path}`"


def absolute(value: object) -> str:
    """A normalised absolute path without `:`; `/` itself is refused."""
    if not isinstance(value, str) or not value.startswith("/") or ":" in value:
        raise Mistake(f"{quoted(value)} is not an absolute path", "It starts with `/` and holds no `:`")
    path = posixpath.normpath("/" + value.lstrip("/"))
    if path == "/":
        raise Mistake("must not be `/`")
    return path


_DOCKER_SOCKETS = frozenset({"/run", "/var/run", "/run/docker.sock", "/var/run/docker.sock"})


def _host_path(value: object) -> str:
    """Not the engine's socket, nor a folder that holds it: who has it is root on the host, and sees every other run."""
    path = absolute(value)
    if path in _DOCKER_SOCKETS:
        raise Mistake(f"{quoted(path)} would give the Docker engine to the container", "Mount what the service needs")
    return path


def _name(value: object) -> str:
    if not isinstance(value, str) or not _VOLUME_NAME.fullmatch(value):
        raise Mistake(f"{quoted(value)} is not the name of a volume", "Letters, digits, `_`, `.` and `-`")
    return value


class Volume(Model):
    """A folder of the host (`instance_path`) or a named volume (`name`) at `path` in the container; one of the two."""

    instance_path: Annotated[str | None, reads(_host_path)] = Field(
        None, description="Folder or file on the host, absolute; it must be there, unless `optional`"
    )
    name: Annotated[str | None, reads(_name)] = Field(
        None,
        description="Name of a volume that Homeport makes on the first host and keeps; `stop` and `delete` leave it. "
        "All replicas that mount it run on that host",
    )
    path: Annotated[str, reads(absolute)] = Field(
        description="Where it is mounted in the container, absolute; not `/` itself"
    )
    optional: Annotated[bool, reads(yes_or_no)] = Field(
        False, description="Leave it out where the host has no such path, instead of failing"
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            source, colon, path = value.partition(":")
            if not colon or not source or not path:
                raise Mistake(f"{quoted(value)} is not a volume", _HINT)
            absolute(path)
            key = "instance_path" if source.startswith("/") else "name"
            return {key: _host_path(source) if key == "instance_path" else _name(source), "path": path}
        if isinstance(value, Mapping) and (value.get("instance_path") is None) == (value.get("name") is None):
            raise Mistake("needs either `instance_path` or `name`", _HINT)
        return value

    def __str__(self) -> str:
        return f"{self.instance_path or self.name}:{self.path}" + (" (optional)" if self.optional else "")


def mounted_twice(volumes: object) -> Iterator[tuple[int, str]]:
    """Index and path of each volume of a document whose path in the container is taken by one before it."""
    seen: set[str] = set()
    for index, item in enumerate(volumes if isinstance(volumes, list) else ()):
        path = (
            item.partition(":")[2] if isinstance(item, str) else item.get("path") if isinstance(item, Mapping) else ""
        )
        place = posixpath.normpath(path) if isinstance(path, str) and path else ""
        if place and place in seen:
            yield index, place
        seen.add(place)


class FileMapping(Model):
    """A file or folder beside the configuration that is sent along."""

    local_path: str = Field(
        min_length=1, description="File or folder on the caller's machine, relative to the configuration file"
    )
    path: str = Field(
        min_length=1,
        description="Where it lies in the container: absolute, or relative to `/workflow`",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            local, _, path = value.partition(":")
            return {"local_path": local, "path": path or local}
        return value
