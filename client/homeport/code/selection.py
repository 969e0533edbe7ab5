"""Which files are sent along: those of a configuration's folder or git work tree, or of a folder under `files`.

Does not cover what they hold (`survey`, `hashing`) and where they land (`bundle`, `mappings`).
"""

import os
import shutil
import tempfile
from dataclasses import dataclass

from homeport.code import git, walk
from homeport.code.words import NO_CODE, shown
from homeport.errors import Invalid

_NO_FOLDERS_OF_FILES = ("/dev", "/proc", "/sys")


@dataclass(frozen=True, slots=True)
class Selection:
    root: str  # absolute
    paths: list[str]  # relative to it; some may be gone


def of_configuration(file: str) -> Selection:
    """The folder of a configuration file, or the top level of the git work tree that it is in. Raises Invalid."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(file)))
    if (top := git.top_level(folder)) is not None:
        return Selection(top, git.files(top))
    top = folder if shutil.which("git") else _holder_of_git(folder)
    _refuse_by_accident(top)
    return Selection(top, walk.files(top))


def of_mapping(folder: str) -> Selection:
    """A folder that `files` names, by the same rules; one that is ignored itself is meant all the same. Raises Invalid."""
    _refuse_by_accident(folder)
    if git.top_level(folder) is not None and (paths := git.files(folder)):
        return Selection(folder, paths)
    return Selection(folder, walk.files(folder))


def _holder_of_git(folder: str) -> str:
    """The top of the work tree where there is no git program to ask; else the folder itself."""
    here = folder
    while not os.path.lexists(os.path.join(here, ".git")):
        above = os.path.dirname(here)
        if above == here:
            return folder
        here = above
    return here


def _refuse_by_accident(folder: str) -> None:
    """Nobody means to send these, and everything that is secret lies there."""
    home = os.path.realpath(os.path.expanduser("~"))
    if folder == home:
        what = f"{shown(folder)} is your home folder"
    elif folder == "/" or home.startswith(f"{folder}/"):
        what = f"{shown(folder)} is not a folder of one project"
    elif folder in {os.path.realpath(tempfile.gettempdir()), "/tmp", "/var/tmp"}:  # noqa: S108 - refused, not used
        what = f"{shown(folder)} is the folder for everybody's temporary files"
    elif any(f"{folder}/".startswith(f"{own}/") for own in _NO_FOLDERS_OF_FILES):
        what = f"{folder} holds no files"
    else:
        return
    raise Invalid(
        f"{what}, and it would be sent along as the code: move the configuration to a folder of its own, or {NO_CODE}"
    )
