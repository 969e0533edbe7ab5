"""Code as a tar stream for a container, made from the cache piece by piece, and its putting into the container.

Each replica gets files of its own in its container's layer: what one writes, no other sees, and a restart in place
keeps. Covers which entries the stream has and whose they are:

- A folder that the image has already stays as the image made it; only what is in /workflow belongs to the user.
- What lies where a host path or a named volume is mounted is left out: it would be written to the host, and the
  program would not see it in the image's layer anyway.
"""

import asyncio
import tarfile
import time
from collections.abc import Iterable, Iterator, Set

from homeport_protos.code import WORKFLOW
from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest, CodeTree

from homeport_agent.code.base import CodeDamaged, CodeError
from homeport_agent.code.cache import CodeCache
from homeport_agent.code.owner import GROUP, PASSWD, ROOT, Owner, needs_files, owner_of
from homeport_agent.engine.base import Engine, Ground, PathKind

FOLDER_MODE = 0o755
_PIECE_BYTES = 256 * 1024  # small files travel together
_BLOCK = 512


async def lay(engine: Engine, container: str, code_id: str, cache: CodeCache) -> None:
    """Raises CodeError, EngineError; then the container may have a part of it and must not be started."""
    manifest = await asyncio.to_thread(cache.manifest, code_id)
    if manifest is None:
        raise CodeDamaged(f"the code {code_id[:12]} is not on this host any more")
    ground = await engine.ground(container)
    owner = await _owner(engine, container, ground)
    there = await _folders_there(engine, container, manifest)
    await engine.put(container, archive(manifest, cache, owner, there, ground.mounted))
    cache.used(code_id)


async def _owner(engine: Engine, container: str, ground: Ground) -> Owner:
    if not needs_files(ground.user):
        return ROOT
    passwd = await engine.read_file(container, PASSWD)
    group = await engine.read_file(container, GROUP)
    return owner_of(ground.user, passwd or b"", group or b"")


async def _folders_there(engine: Engine, container: str, manifest: CodeManifest) -> frozenset[str]:
    """Folders outside of /workflow that the image has, and a /workflow that is a symlink: they stay as they are.

    Asked from the top: below a folder that is not there nothing is.
    """
    there, missing = set[str](), set[str]()
    for tree in manifest.trees:
        for folder in _folders(tree):
            if folder.startswith(f"{WORKFLOW}/") or folder.rpartition("/")[0] in missing:
                missing.add(folder)
            elif folder not in there and folder not in missing:
                kind = await engine.path_kind(container, folder)
                is_to_stay = kind is PathKind.SYMLINK or (kind is PathKind.FOLDER and folder != WORKFLOW)
                (there if is_to_stay else missing).add(folder)
    return frozenset(there)


def _folders(tree: CodeTree) -> Iterator[str]:
    """All folders on the way to the tree's files, each before what is in it; some more than once."""
    yield from _above(f"{tree.target}/")
    last = ""
    for entry in tree.entries:
        folder = entry.path.rpartition("/")[0]
        if folder != last:
            yield from _above(f"{tree.target}/{entry.path}")
            last = folder


def _above(path: str) -> Iterator[str]:
    names = path.split("/")[1:-1]
    return ("/" + "/".join(names[: count + 1]) for count in range(len(names)))


def archive(
    manifest: CodeManifest, cache: CodeCache, owner: Owner, there: Set[str], mounted: Iterable[str]
) -> Iterator[bytes]:
    """The tar stream for "/"; blocking. Raises CodeError on the way."""
    waiting = bytearray()
    for piece in _parts(manifest, cache, owner, there, tuple(mounted)):
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _parts(
    manifest: CodeManifest, cache: CodeCache, owner: Owner, there: Set[str], mounted: tuple[str, ...]
) -> Iterator[bytes]:
    # Not 1970: archives that a program makes of its own files refuse years before 1980.
    now_s = int(time.time())
    made = set(there)
    for tree in manifest.trees:
        for folder in _folders(tree):
            if folder not in made and not _is_mounted(folder, mounted):
                # What leads to a target elsewhere (`/srv` of `/srv/conf`) stays root's.
                is_users = any(f"{folder}/".startswith(f"{top}/") for top in (WORKFLOW, tree.target))
                yield _header(folder, FOLDER_MODE, now_s, owner if is_users else ROOT, tarfile.DIRTYPE)
            made.add(folder)
        for entry in tree.entries:
            path = f"{tree.target}/{entry.path}"
            if _is_mounted(path, mounted):
                continue
            if entry.symlink:
                yield _header(path, 0o777, now_s, owner, tarfile.SYMTYPE, link=entry.symlink)
            else:
                yield _header(path, entry.mode, now_s, owner, tarfile.REGTYPE, size=entry.size)
                yield from _content(entry, cache)
    yield bytes(2 * _BLOCK)


def _content(entry: CodeEntry, cache: CodeCache) -> Iterator[bytes]:
    sent = 0
    try:
        for piece in cache.read(entry.sha256):
            sent += len(piece)
            yield piece
    except OSError as error:
        raise CodeError(f"the kept code cannot be read: {error.strerror}") from None
    if sent != entry.size:
        raise CodeDamaged(f"content {entry.sha256[:12]} has {sent} bytes, it should have {entry.size}")
    yield bytes(-sent % _BLOCK)


def _header(path: str, mode: int, now_s: int, owner: Owner, kind: bytes, *, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(path[1:])
    info.mode, info.mtime, info.type, info.size, info.linkname = mode, now_s, kind, size, link
    info.uid, info.gid = owner.uid, owner.gid
    return info.tobuf(tarfile.PAX_FORMAT, encoding="utf-8")


def _is_mounted(path: str, mounted: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(f"{it.rstrip('/')}/") for it in mounted)
