"""What git knows of a folder: its top level, and which files of the work tree are not ignored.

git runs no program of the repository here (hooks, file system monitors), takes no lock and asks nothing; it is started once
for each question and once for each repository within. Does not cover what the files hold.
"""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator, Sequence

from homeport.code import walk
from homeport.code.words import NO_CODE, shown
from homeport.errors import Invalid

TIMEOUT_S = 120.0
MAX_NESTED = 20  # repositories in repositories
_SAFE = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
_NO_WORK_TREE = ("not a git repository", "must be run in a work tree", "not in a git directory")


def top_level(folder: str) -> str | None:
    """The work tree that `folder` is in; None: in none, or there is no git program. Raises Invalid for a broken one."""
    try:
        done = _git(folder, ["rev-parse", "--show-toplevel"])
    except FileNotFoundError:
        return None
    if done.returncode == 0:
        return os.fsdecode(done.stdout.removesuffix(b"\n")) or None
    if any(words in _said(done) for words in _NO_WORK_TREE):
        return None
    raise _trouble(folder, done)


def files(folder: str, nested: int = 0) -> list[str]:
    """Tracked and untracked files under `folder`, relative to it, without what is ignored; submodules are gone into.

    Tracked ones that are deleted by now may be among them. Raises Invalid.
    """
    done = _git(folder, ["ls-files", "-z", "-t", "-s", "--cached", "--others", "--exclude-standard"])
    if done.returncode != 0:
        raise _trouble(folder, done)
    if unread := [line for line in _said(done).splitlines() if "could not open directory" in line]:
        said = unread[0].removeprefix("warning: ")
        raise Invalid(f"git {shown(said)}; change its mode, name it in .gitignore, or {NO_CODE}")
    found: dict[str, None] = {}  # a conflict lists a file three times
    for line in done.stdout.split(b"\0"):
        for path in _entry(folder, line, nested):
            found[path] = None
    return list(found)


def _entry(folder: str, line: bytes, nested: int) -> Iterator[str]:
    """The files of one line: `? new`, `? repository/`, `H 100644 <id> 0\\tfile`, `H 160000 <id> 0\\tsubmodule`."""
    if line.startswith(b"? "):
        path = os.fsdecode(line[2:])
        is_repository = path.endswith("/")
    elif line:
        about, _, name = line.partition(b"\t")
        path = os.fsdecode(name)
        is_repository = about[2:].startswith(b"160000 ")
    else:
        return
    if is_repository:
        yield from _inner(folder, path.rstrip("/"), nested)
    else:
        yield path


def _inner(folder: str, path: str, nested: int) -> Iterator[str]:
    """A repository within: a submodule, or a clone that nobody has added."""
    inside = os.path.join(folder, path)
    try:
        if not stat.S_ISDIR(os.lstat(inside).st_mode):
            yield path  # something else has taken its place
            return
    except OSError:
        return
    if nested == MAX_NESTED:
        raise Invalid(f"{shown(inside)}: more than {MAX_NESTED} repositories in one another; {NO_CODE}")
    # One that is not checked out is an empty folder; one without its `.git` is a folder like others.
    inner = files(inside, nested + 1) if os.path.lexists(os.path.join(inside, ".git")) else walk.files(inside)
    for name in inner:
        yield f"{path}/{name}"


def _git(folder: str, arguments: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    """Raises FileNotFoundError: there is no git. Invalid: it takes too long."""
    # What a hook or a shell may have set would name another repository than the folder's own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *_SAFE, "-C", folder, *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"git took more than {TIMEOUT_S:g} s in {shown(folder)}; {NO_CODE} to send none") from None
    except PermissionError as error:
        raise Invalid(f"cannot run git: {error.strerror}; {NO_CODE} to send no code") from None


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stderr.decode(errors="replace")


def _trouble(folder: str, done: "subprocess.CompletedProcess[bytes]") -> Invalid:
    said = _said(done)
    if "dubious ownership" in said:
        return Invalid(
            f"git does not trust {shown(folder)}, because it belongs to another user. If you do, run "
            f"`{_trust_command(said, folder)}`; or {NO_CODE} to send no code"
        )
    reason = next((line for line in said.splitlines() if line.strip()), f"it ended with {done.returncode}")
    reason = shown(reason.removeprefix("fatal: ").strip())
    return Invalid(f"git cannot read {shown(folder)}: {reason}; repair the repository, or {NO_CODE}")


def _trust_command(said: str, folder: str) -> str:
    """The line that git itself says, or the same for the folder."""
    line = next((line.strip() for line in said.splitlines() if "--add safe.directory" in line), "")
    return shown(line) or f"git config --global --add safe.directory {shlex.quote(folder)}"
