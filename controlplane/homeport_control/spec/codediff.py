"""What differs between two codes that were sent along: a line for all of it, and one for each of the first few files.

Covers text from values. Does not read manifests (api.code).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from homeport_control.spec.diff import Change

SHOWN = 10
WORKFLOW = "/workflow/"
_LEAST_UNIT = 1000


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file or symlink at its place."""

    size: int
    mode: int
    sha256: str
    symlink: str = ""


def code_diff(
    old_id: str, old: Mapping[str, CodeFile] | None, new_id: str, new: Mapping[str, CodeFile] | None
) -> tuple[Change, ...]:
    """`old`, `new`: by absolute place in the container; None for a code that is not known any more. () when equal."""
    if old_id == new_id:
        return ()
    before, after = _whole_text(old_id, old), _whole_text(new_id, new)
    if not (old and new):  # all of it is new, or gone: the files need not be listed
        return (Change("code", before, after),)
    places = [place for place in sorted({*old, *new}) if old.get(place) != new.get(place)]
    if len(places) > SHOWN:
        after += f" ({len(places)} differ, the first {SHOWN} are shown)"
    files = [Change(_path(place), *_texts(old.get(place), new.get(place))) for place in places[:SHOWN]]
    return (Change("code", before, after), *files)


def size_text(count: int) -> str:
    """Decimal: `15B`, `1.2kB`, `3.4MB`."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB"):
        if value < _LEAST_UNIT:
            break
        value, unit = value / _LEAST_UNIT, bigger
    return f"{value:.1f}".removesuffix(".0") + unit


def files_text(files: Mapping[str, CodeFile]) -> str:
    """`12 files, 1.2MB`."""
    count = len(files)
    return f"{count} file{'' if count == 1 else 's'}, {size_text(sum(file.size for file in files.values()))}"


def _whole_text(code_id: str, files: Mapping[str, CodeFile] | None) -> str:
    if not code_id:
        return ""
    return f"code {code_id[:8]}" if files is None else files_text(files)


def _path(place: str) -> str:
    return f"code/{place.removeprefix(WORKFLOW)}" if place.startswith(WORKFLOW) else f"files{place}"


def _texts(old: CodeFile | None, new: CodeFile | None) -> tuple[str, str]:
    before, after = _text(old), _text(new)
    if old is None or new is None or before != after:
        return before, after
    if old.sha256 != new.sha256:
        return before, f"{after}, other content"
    return f"{before}, {old.mode:o}", f"{after}, {new.mode:o}"


def _text(file: CodeFile | None) -> str:
    if file is None:
        return ""
    return f"-> {file.symlink}" if file.symlink else size_text(file.size)
