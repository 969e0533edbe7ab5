"""What can be wrong with a configuration, as values: a path, one sentence, a hint.

Covers the two forms of a mistake (raised inside a parser, reported to a user) and how paths are written. Does not know
files and lines: the command line turns a path into a line.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake of a document. It never carries a secret value."""

    path: str  # "resources.gpu.memry", "env[2]"; empty: the whole document
    message: str
    hint: str = ""

    def __str__(self) -> str:
        sentence = f"{self.path}: {self.message}" if self.path else self.message
        return f"{sentence}. {self.hint}" if self.hint else sentence


class BadDocument(Exception):
    """All the problems of one document, in the order of its keys."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Mistake(ValueError):
    """Raised by a parser of one value, which does not know where the value stands."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def path_of(parts: Iterable[str | int]) -> str:
    """`("resources", "gpu", 0)` as `resources.gpu[0]`; a key that is no plain word as `["odd key"]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def closest(word: str, known: Iterable[str]) -> str:
    """`Did you mean ...?` for the known word that is nearest, else the list of what is known."""
    words = sorted(known)
    near = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{near[0]}`?"
    return "Known: " + ", ".join(f"`{word}`" for word in words) if words else ""


def quoted(value: object) -> str:
    """A value as a message shows it: short, on one line. Not for values that may be secret."""
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else value
    text = " ".join(text.split())
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
