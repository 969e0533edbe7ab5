"""What each selected file is: its kind, mode and size, before any of them is read.

Refused here, by name: sockets, pipes and devices, names that are not UTF-8. Does not cover contents (`hashing`) and the
limits over all of them (`limits`).
"""

import os
import stat
from dataclasses import dataclass

from homeport.code.selection import Selection
from homeport.code.words import NO_CODE, counted, listed, shown
from homeport.errors import Invalid


@dataclass(frozen=True, slots=True)
class Item:
    """A file, or a symlink (then `symlink` is set and the two others are 0)."""

    local: str  # absolute, here
    path: str  # relative to the folder
    mode: int = 0  # permission bits
    size: int = 0  # bytes
    symlink: str = ""


def survey(selected: Selection) -> list[Item]:
    """One item for each path that is still there. Raises Invalid."""
    items: list[Item] = []
    special: list[str] = []
    badly_named: list[str] = []
    folders: dict[str, bool] = {"": True}
    for path in selected.paths:
        if not _is_below_folders(selected.root, os.path.dirname(path), folders):
            continue  # tracked in a folder that is gone, or that is a symlink by now
        local = os.path.join(selected.root, path)
        try:
            found = os.lstat(local)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise unreadable(local, error) from None
        if stat.S_ISDIR(found.st_mode):
            continue  # tracked as a file; what is in it is listed by itself
        try:
            text = os.fsencode(path).decode()
            target = os.fsencode(os.readlink(local)).decode() if stat.S_ISLNK(found.st_mode) else ""
        except UnicodeDecodeError:
            badly_named.append(shown(path))
            continue
        except OSError:  # gone, or replaced, between the two calls
            raise changing(local) from None
        if target:
            items.append(Item(local, text, symlink=target))
        elif stat.S_ISREG(found.st_mode):
            items.append(Item(local, text, stat.S_IMODE(found.st_mode) & 0o777, found.st_size))
        else:
            special.append(f"{shown(path)} ({_kind(found.st_mode)})")
    if special:
        raise _refused(selected.root, special, "neither a file nor a symlink", "remove")
    if badly_named:
        raise _refused(selected.root, badly_named, "no UTF-8 in its name or in what it points to", "rename")
    return items


def unreadable(local: str, error: OSError) -> Invalid:
    return Invalid(
        f"cannot read {shown(local)}: {error.strerror}; change its mode, name it in .gitignore, or {NO_CODE}"
    )


def changing(local: str) -> Invalid:
    return Invalid(
        f"{shown(local)} changed while it was read; run the command again when nothing writes to it, or name it in .gitignore"
    )


def _is_below_folders(root: str, folder: str, known: dict[str, bool]) -> bool:
    """Whether every part of a relative path is a folder and no symlink to one. `known` remembers the answers."""
    if (answer := known.get(folder)) is None:
        try:
            itself = stat.S_ISDIR(os.lstat(os.path.join(root, folder)).st_mode)
        except OSError:
            itself = False
        answer = known[folder] = itself and _is_below_folders(root, os.path.dirname(folder), known)
    return answer


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((word for test, word in kinds if test(mode)), "a special file")


def _refused(root: str, names: list[str], why: str, verb: str) -> Invalid:
    them = "it" if len(names) == 1 else "them"
    return Invalid(
        f"{counted(len(names), 'file')} in {shown(root)} cannot be sent ({why}): "
        f"{verb} {them}, name {them} in .gitignore, or {NO_CODE}",
        listed(sorted(names)),
    )
