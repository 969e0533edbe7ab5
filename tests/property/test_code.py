"""Symlinks of a manifest against a real file system: what is taken never leads out, and what stays inside is taken."""

import errno
import os
import tempfile
from pathlib import Path

from homeport_protos import code
from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest, CodeTree
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=5).map("/".join)
TREES = st.dictionaries(PATHS, st.none() | TARGETS.filter(bool), max_size=10)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def without_overlaps(tree: dict[str, str | None]) -> dict[str, str | None]:
    return {
        path: target
        for path, target in tree.items()
        if not any(path.startswith(f"{above}/") for above in tree)
    }  # fmt: skip


def lay(tree: dict[str, str | None], root: Path) -> None:
    """Files as folders: a symlink through one leads nowhere, and is judged as if it could be gone through."""
    for path, target in tree.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            place.mkdir(exist_ok=True)
        else:
            os.symlink(target, place)


def stays(root: str, path: str) -> bool:
    """By the kernel; a folder that is missing on the way is made, so that it goes on."""
    while True:
        try:
            real = os.path.realpath(f"{root}/{path}", strict=True)
            os.stat(f"{root}/{path}")
        except FileNotFoundError as error:
            if not error.filename.startswith(f"{root}/"):
                return False
            os.mkdir(error.filename)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return False
        else:
            return f"{real}/".startswith(f"{root}/")


@settings(max_examples=200)
@given(TREES)
def test_symlinks_lead_where_the_kernel_says(drawn: dict[str, str | None]) -> None:
    tree = without_overlaps(drawn)
    entries = [
        CodeEntry(path=path, symlink=target) if target else CodeEntry(path=path, mode=0o644, sha256=EMPTY)
        for path, target in sorted(tree.items())
    ]
    found = code.problems(CodeManifest(trees=[CodeTree(target=code.WORKFLOW, entries=entries)]))
    with tempfile.TemporaryDirectory() as folder:
        # A name that no target has: who has left the tree cannot come back to it.
        root = Path(os.path.realpath(folder)) / "top"
        root.mkdir()
        lay(tree, root)
        expected = {path for path, target in tree.items() if target and not stays(str(root), path)}
    told = {problem.partition(":")[0] for problem in found}
    assert told == expected


@given(st.lists(st.tuples(PATHS, st.sampled_from(["/workflow", "/workflow/a", "/a/b"])), max_size=8))
def test_what_is_taken_can_be_laid_out_over_all_folders(drawn: list[tuple[str, str]]) -> None:
    """Every file of a manifest that is in order can be written, and nothing is written twice."""
    by_target: dict[str, list[str]] = {}
    for path, target in drawn:
        by_target.setdefault(target, []).append(path)
    manifest = CodeManifest()
    for target in sorted(by_target):
        tree = manifest.trees.add(target=target)
        tree.entries.extend(CodeEntry(path=path, mode=0o644, sha256=EMPTY) for path in sorted(set(by_target[target])))
    places = sorted({f"{tree.target}/{entry.path}" for tree in manifest.trees for entry in tree.entries})
    count = sum(len(tree.entries) for tree in manifest.trees)
    can_be_laid = len(places) == count and not any(
        other.startswith(f"{place}/") for place in places for other in places
    )
    assert (code.problems(manifest) == []) is can_be_laid
