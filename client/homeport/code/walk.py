"""The files of a folder that git does not look after: all that no `.gitignore` on the way names, in every folder its own.

`.git` is left out, symlinks are not followed. Does not cover git work trees (`git`) and what the files hold.
"""

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeport.code.words import NO_CODE, shown
from homeport.errors import Invalid

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_FOUND = 200_000  # names; what is larger is no code, and would be looked through for minutes
MAX_IGNORE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Rules:
    """One `.gitignore`: `base` is the path of its folder, "" at the top, else with a slash at the end."""

    base: str
    spec: "GitIgnoreSpec"


def files(folder: str, most: int = MAX_FOUND) -> list[str]:
    """Paths of everything but folders, relative to `folder`. Raises Invalid for what cannot be read, or is too much."""
    found: list[str] = []
    seen = 0
    ahead: list[tuple[str, tuple[_Rules, ...]]] = [("", ())]
    while ahead:
        base, rules = ahead.pop()
        rules = _with_own(folder, base, rules)
        try:
            entries = list(os.scandir(os.path.join(folder, base)))
        except OSError as error:
            place = shown(os.path.join(folder, base.rstrip("/")).rstrip("/"))
            raise Invalid(
                f"cannot look into {place}: {error.strerror}; change its mode, name it in .gitignore, or {NO_CODE}"
            ) from None
        seen += len(entries)
        if seen > most:
            raise Invalid(
                f"{shown(folder)} holds more than {most} files: too many to send. Move the configuration to a folder "
                f"of its own, name what is not needed in .gitignore, or {NO_CODE}"
            )
        for entry in entries:
            path = base + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name == ".git" or _is_ignored(f"{path}/" if is_folder else path, rules):
                continue
            if is_folder:
                ahead.append((f"{path}/", rules))
            else:
                found.append(path)
    return found


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """The deepest file that says anything has the word, and in it the last line."""
    for rule in reversed(rules):
        include = rule.spec.check_file(path[len(rule.base) :]).include
        if include is not None:
            return include
    return False


def _with_own(folder: str, base: str, rules: tuple[_Rules, ...]) -> tuple[_Rules, ...]:
    file = os.path.join(folder, base, ".gitignore")
    try:
        if not stat.S_ISREG(os.lstat(file).st_mode):
            return rules  # as git: a symlink, or something else, is none
        with open(file, "rb") as opened:
            text = opened.read(MAX_IGNORE_BYTES)
    except FileNotFoundError:
        return rules
    except OSError as error:
        raise Invalid(f"cannot read {shown(file)}: {error.strerror}; change its mode, or {NO_CODE}") from None
    spec = _spec(text.decode(errors="surrogateescape").removeprefix("\ufeff").splitlines())
    return (*rules, _Rules(base, spec)) if len(spec) else rules


def _spec(lines: list[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # only where git does not answer

    valid = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue  # git passes over it too
        if line.strip() and not line.startswith("#"):
            valid.append(line)
    return GitIgnoreSpec.from_lines(valid)
