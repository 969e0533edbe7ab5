"""All code that goes along with one document: the configuration's folder and its `files`, as one manifest.

Where two of them put something at the same place, the later wins, `files` over the folder: it was named on purpose. Covers
putting them together. Does not cover sending (`upload`).
"""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from homeport_protos import code
from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest, CodeTree

from homeport.code import limits, selection
from homeport.code.hashing import sha256_of
from homeport.code.mappings import Mapped
from homeport.code.selection import Selection
from homeport.code.survey import Item, survey
from homeport.code.words import NO_CODE, counted, shown
from homeport.errors import Invalid


@dataclass(frozen=True, slots=True)
class Source:
    """Where a content can be read: the first `size` bytes of `local`."""

    local: str
    size: int


@dataclass(frozen=True, slots=True)
class Bundle:
    manifest: CodeManifest
    sources: Mapping[str, Source]  # by sha256
    root: str  # what a plan calls it: the folder, or "`files`"

    @property
    def file_count(self) -> int:
        return sum(len(tree.entries) for tree in self.manifest.trees)

    @property
    def total_bytes(self) -> int:
        return code.total_bytes(self.manifest)


def gather(file: str, mapped: Sequence[Mapped], *, repo: bool) -> Bundle | None:
    """Look at everything and hash it; None: no folder and no file is to go along. Raises Invalid.

    `repo`: the folder of `file` goes along too, with or without a file in it.
    """
    placed: dict[str, Item] = {}
    targets: set[str] = set()
    root = "`files`"
    if repo:
        selected = selection.of_configuration(file)
        root = selected.root
        _put(placed, code.WORKFLOW, survey(selected))
        targets.add(code.WORKFLOW)
        # The document itself stays here: with it along, every change of it would change the code and replace the replicas.
        place = os.path.relpath(os.path.realpath(file), os.path.realpath(root))
        placed.pop(f"{code.WORKFLOW}/{place}", None)
    for one in mapped:
        _put(placed, one.place if one.is_folder else posixpath.dirname(one.place), _items(one))
        targets.add(one.place if one.is_folder else posixpath.dirname(one.place))
    if not targets:
        return None
    limits.check(root, placed)
    bundle = _bundle(placed, targets, root)
    if problems := code.problems(bundle.manifest):
        raise Invalid(
            f"the code of {shown(root)} cannot be sent, for {counted(len(problems), 'reason')}: "
            f"put that right (a symlink must be relative and stay in its folder), name it in .gitignore, or {NO_CODE}",
            [f"  {shown(problem)}" for problem in problems],
        )
    return bundle


def _items(one: Mapped) -> list[Item]:
    if one.is_folder:
        return survey(selection.of_mapping(one.local))
    folder, name = os.path.split(one.local)
    found = survey(Selection(folder, [name]))
    if not found:
        raise Invalid(f"files[{one.index}]: {shown(one.local)} is gone; run the command again")
    return [replace(found[0], path=posixpath.basename(one.place))]


def _put(placed: dict[str, Item], target: str, items: Sequence[Item]) -> None:
    """Lay `items` over what is there, as a copy would: a file takes the place of a folder, a folder that of a symlink."""
    new = {f"{target}/{item.path}": item for item in items}
    if placed:
        above = {folder for place in new for folder in _folders(place)}
        for place in [place for place in placed if place in above or any(folder in new for folder in _folders(place))]:
            del placed[place]
    placed.update(new)


def _folders(place: str) -> Iterator[str]:
    """Every path above it, "/" left out."""
    while place := place.rpartition("/")[0]:
        yield place


def _bundle(placed: Mapping[str, Item], targets: set[str], root: str) -> Bundle:
    tops = {target for target in targets if not any(folder in targets for folder in _folders(target))}
    # One without a file is a folder all the same: `commands` run in /workflow, whether something lies there or not.
    trees: dict[str, list[tuple[str, Item]]] = {target: [] for target in tops}
    for place, item in placed.items():
        target = next(folder for folder in _folders(place) if folder in tops)
        trees.setdefault(target, []).append((place[len(target) + 1 :], item))
    manifest = CodeManifest()
    sources: dict[str, Source] = {}
    for target in sorted(trees):
        tree = CodeTree(target=target)
        tree.entries.extend(
            _entry(path, item, sources) for path, item in sorted(trees[target], key=lambda pair: pair[0])
        )
        manifest.trees.append(tree)
    return Bundle(manifest, sources, root)


def _entry(path: str, item: Item, sources: dict[str, Source]) -> CodeEntry:
    if item.symlink:
        return CodeEntry(path=path, symlink=item.symlink)
    sha256 = sha256_of(item.local, item.size)
    sources.setdefault(sha256, Source(item.local, item.size))
    return CodeEntry(path=path, mode=item.mode, sha256=sha256, size=item.size)
