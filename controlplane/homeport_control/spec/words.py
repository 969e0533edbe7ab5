"""Small pieces of text that several documents share: names, images, lists of words, the version of Python."""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated

from homeport_control.spec.base import reads
from homeport_control.spec.problems import Mistake, quoted

_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@\[\]-]{0,510}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PYTHON = re.compile(r"3\.(9|1[0-4])")


def resource_name(value: object) -> str:
    """The name of a run, a fleet or a gateway."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Mistake(
            f"{quoted(value)} cannot be a name",
            "2 to 41 lower-case letters, digits and `-`, starting with a letter",
        )
    return value


def image(value: object) -> str:
    """A reference as `docker pull` takes it."""
    if not isinstance(value, str) or not _IMAGE.fullmatch(value):
        raise Mistake(f"{quoted(value)} is not the name of an image", "Write it like `registry/name:tag`")
    return value


def python_version(value: object) -> str:
    """3.9 to 3.14. YAML reads 3.10 as the number 3.1: there is no Python 3.1 to confuse it with."""
    text = {3.1: "3.10"}.get(value, str(value)) if isinstance(value, float) else value
    if not isinstance(text, str) or not _PYTHON.fullmatch(text):
        raise Mistake(f"{quoted(value)} is not a version of Python that can be used", "3.9 to 3.14, like `3.12`")
    return text


def words(value: object) -> object:
    """A list of words; what is no list is left to the model, which says so."""
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str) or not item.strip():
                raise Mistake(f"{quoted(item)} cannot stand in this list", "It is a list of names")
        return list(dict.fromkeys(item.strip() for item in value))
    return value


def arguments(value: object) -> object:
    """A list, or one text that is split as a shell splits it."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise Mistake(f"cannot be split into words: {error}", "Write it as a list") from None


def text_or_number(value: object) -> object:
    """`user: 1000` is text too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def labels(value: object) -> object:
    """`{rack: a}` or `[rack=a]`: ("rack=a",), sorted."""
    if isinstance(value, Mapping):
        pairs: list[tuple[object, ...]] = [(key, text_or_number(inner)) for key, inner in value.items()]
    elif isinstance(value, list):
        pairs = [tuple(item.split("=", 1)) if isinstance(item, str) else (item, None) for item in value]
    else:
        return value
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(part, str) and _LABEL.fullmatch(part) for part in pair):
            raise Mistake(f"{quoted(pair[0])} is not a label with its value", "Write `{rack: a}`, or `[rack=a]`")
    return sorted({f"{key}={inner}" for key, inner in pairs})


def not_blank(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise Mistake("must not be empty")
    return value


Name = Annotated[str, reads(resource_name)]
Text = Annotated[str | None, reads(not_blank)]
Words = Annotated[tuple[str, ...], reads(words)]
