"""What code that is sent along may look like, and its name. Command line, server and agent hold the same manifest to these.

Covers the manifest: paths, symlinks, sizes, its id. Does not cover where its contents lie or how they travel.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise

from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest

WORKFLOW = "/workflow"  # where the folder of the configuration lands
MAX_BYTES = 200_000_000
MAX_ENTRIES = 50_000
MAX_TREES = 100
MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
CHUNK_BYTES = 256 * 1024  # of a content on the wire
_MAX_PROBLEMS = 20
_MAX_LINKS = 40  # as Linux: then it is a loop
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_THERE = ("/proc", "/sys", "/dev")  # the container's own


def code_id(manifest: CodeManifest) -> str:
    """The name of this code: equal trees have equal ids. Lower-case hex."""
    digest = hashlib.sha256()
    for tree in manifest.trees:
        digest.update(f"tree\0{tree.target}\0".encode())
        for entry in tree.entries:
            digest.update(f"{entry.path}\0{entry.mode:o}\0{entry.sha256}\0{entry.size}\0{entry.symlink}\0".encode())
    return digest.hexdigest()


def contents(manifest: CodeManifest) -> dict[str, int]:
    """Size in bytes by sha256 of every content; one that several files have is there once."""
    return {entry.sha256: entry.size for tree in manifest.trees for entry in tree.entries if not entry.symlink}


def total_bytes(manifest: CodeManifest) -> int:
    """What all files have together when they are laid out."""
    return sum(entry.size for tree in manifest.trees for entry in tree.entries)


def problems(manifest: CodeManifest) -> list[str]:
    """Why this code is refused, a sentence each, the first twenty; empty: it is in order."""
    return list(islice(_problems(manifest), _MAX_PROBLEMS))


def _problems(manifest: CodeManifest) -> Iterator[str]:
    count = sum(len(tree.entries) for tree in manifest.trees)
    if count > MAX_ENTRIES or len(manifest.trees) > MAX_TREES:
        yield f"{count} files in {len(manifest.trees)} folders are too many: the limits are {MAX_ENTRIES} and {MAX_TREES}"
        return
    sizes: dict[str, int] = {}
    for tree in manifest.trees:
        yield from _target(tree.target)
        links = {entry.path: entry.symlink for entry in tree.entries if entry.symlink}
        for before, entry in pairwise(tree.entries):
            if before.path >= entry.path:
                yield f"{entry.path!r} comes twice, or is not in order"
        for entry in tree.entries:
            found = _path(entry.path) or (_link(entry, links) if entry.symlink else _file(entry, sizes))
            if found:
                yield found
    yield from _overlaps(manifest)
    if (total := total_bytes(manifest)) > MAX_BYTES:
        yield f"{total / 1e6:.1f} MB are too much: the limit is {MAX_BYTES / 1e6:.0f} MB"


def _target(target: str) -> Iterator[str]:
    if not target.startswith("/") or target == "/" or _path(target[1:]):
        yield f"{target!r} is no absolute path to put code at"
    elif any(f"{target}/".startswith(f"{own}/") for own in _NOT_THERE):
        yield f"{target} belongs to the container itself"


def _path(path: str) -> str:
    names = path.split("/")
    if "\0" in path or any(name in {"", ".", ".."} for name in names):
        return f"{path!r} is no path inside the folder"
    if len(path.encode()) > MAX_PATH_BYTES or any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        return f"{path[:80]!r}… is too long a path"
    return ""


def _file(entry: CodeEntry, sizes: dict[str, int]) -> str:
    if entry.mode > 0o777:
        return f"{entry.path}: the mode {entry.mode:o} has more than permissions"
    if not _SHA256.fullmatch(entry.sha256) or entry.size < 0:
        return f"{entry.path}: it has no valid hash and size"
    if sizes.setdefault(entry.sha256, entry.size) != entry.size:
        return f"{entry.path}: its content is said to have two sizes"
    return ""


def _link(entry: CodeEntry, links: Mapping[str, str]) -> str:
    if entry.mode or entry.sha256 or entry.size:
        return f"{entry.path}: a symlink has no mode and no content"
    if "\0" in entry.symlink or len(entry.symlink.encode()) > MAX_PATH_BYTES:
        return f"{entry.path}: it points to no valid path"
    if not _stays(entry.path.split("/")[:-1], entry.symlink, links):
        return f"{entry.path}: the symlink points out of the folder, to {entry.symlink[:200]}"
    return ""


def _stays(at: list[str], target: str, links: Mapping[str, str]) -> bool:
    """Follow a symlink as the kernel would, through other symlinks of the tree; never above its top."""
    if target.startswith("/"):
        return False
    here, ahead, followed = list(at), target.split("/")[::-1], 1
    while ahead:
        name = ahead.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            if not here:
                return False
            here.pop()
            continue
        here.append(name)
        if (further := links.get("/".join(here))) is not None:
            followed += 1
            if further.startswith("/") or followed > _MAX_LINKS:
                return False
            here.pop()
            ahead.extend(further.split("/")[::-1])
    return True


def _overlaps(manifest: CodeManifest) -> Iterator[str]:
    """Nothing may lie below a file or a symlink, over all trees: it would be written through it."""
    places: set[str] = set()
    for tree in manifest.trees:
        for entry in tree.entries:
            place = f"{tree.target}/{entry.path}"
            if place in places:
                yield f"{place} comes twice"
            places.add(place)
    for tree in manifest.trees:
        for entry in tree.entries:
            above = f"{tree.target}/{entry.path}"
            while above := above.rpartition("/")[0]:
                if above in places:
                    yield f"{tree.target}/{entry.path} lies below {above}, which is no folder"
