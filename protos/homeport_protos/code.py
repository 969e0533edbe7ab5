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
MAX_DEPTH = 100  # folders in one another: bounds the work of checking what somebody sends
CHUNK_BYTES = 256 * 1024  # of a content on the wire
_MAX_PROBLEMS = 20
_MAX_LINKS = 40  # as Linux: then it is a loop
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_THERE = ("/proc", "/sys", "/dev")  # the container's own


class _Links:
    """Where the symlinks of one tree lead, followed as the kernel would; each is worked out once."""

    def __init__(self, links: Mapping[str, str]) -> None:
        self._links = links
        self._ends: dict[
            str, tuple[list[str], int]
        ] = {}  # by path: names below the top, symlinks followed to get there

    def stays(self, path: str) -> bool:
        """Never above the top of the tree on its way, and no loop."""
        return self._end(path, 1) is not None

    def _end(self, path: str, depth: int) -> tuple[list[str], int] | None:
        if path in self._ends:
            return self._ends[path]
        here, followed = path.split("/")[:-1], 1
        if self._links[path].startswith("/") or depth > _MAX_LINKS:
            return None
        for name in self._links[path].split("/"):
            if name in {"", "."}:
                continue
            if name == "..":
                if not here:
                    return None
                here.pop()
                continue
            here.append(name)
            if (further := "/".join(here)) in self._links:
                end = self._end(further, depth + 1)
                if end is None:
                    return None
                here, followed = list(end[0]), followed + end[1]
                if followed > _MAX_LINKS:
                    return None
        self._ends[path] = (here, followed)
        return self._ends[path]


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
    for first, second in pairwise(manifest.trees):
        if first.target >= second.target:
            yield f"the folder {second.target!r} comes twice, or is not in order"
    sizes: dict[str, int] = {}
    for tree in manifest.trees:
        yield from _target(tree.target)
        links = _Links({entry.path: entry.symlink for entry in tree.entries if entry.symlink})
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
    if len(names) > MAX_DEPTH:
        return f"{path[:80]!r}… lies in more than {MAX_DEPTH} folders"
    return ""


def _file(entry: CodeEntry, sizes: dict[str, int]) -> str:
    if entry.mode > 0o777:
        return f"{entry.path}: the mode {entry.mode:o} has more than permissions"
    if not _SHA256.fullmatch(entry.sha256) or entry.size < 0:
        return f"{entry.path}: it has no valid hash and size"
    if sizes.setdefault(entry.sha256, entry.size) != entry.size:
        return f"{entry.path}: its content is said to have two sizes"
    return ""


def _link(entry: CodeEntry, links: "_Links") -> str:
    if entry.mode or entry.sha256 or entry.size:
        return f"{entry.path}: a symlink has no mode and no content"
    if "\0" in entry.symlink or len(entry.symlink.encode()) > MAX_PATH_BYTES:
        return f"{entry.path}: it points to no valid path"
    if entry.symlink.count("/") > MAX_DEPTH:
        return f"{entry.path}: it points through more than {MAX_DEPTH} folders"
    if not links.stays(entry.path):
        return f"{entry.path}: the symlink points out of the folder or to itself, to {entry.symlink[:200]}"
    return ""


def _overlaps(manifest: CodeManifest) -> Iterator[str]:
    """Nothing may lie below a file or a symlink, over all trees: it would be written through it."""
    places: set[str] = set()
    for tree in manifest.trees:
        for entry in tree.entries:
            place = f"{tree.target}/{entry.path}"
            if place in places:
                yield f"{place} comes twice"
            places.add(place)
    free: set[str] = set()  # folders that have nothing but folders above them
    for tree in manifest.trees:
        for entry in tree.entries:
            above = f"{tree.target}/{entry.path}"
            while (above := above.rpartition("/")[0]) and above not in free:
                if above in places:
                    yield f"{tree.target}/{entry.path} lies below {above}, which is no folder"
                    break
                free.add(above)
