"""The file of a backup: one tar, mode 0600, whole under its name or not there.

Holds `manifest.json` first, then `homeport.db` (always SQLite, whatever the server runs on), the CA, the keys and the code
that was sent along. Does not hold `database.url`, which has a password of another system, nor what is made anew at a start.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from homeport_control.domain.errors import BadRequest
from homeport_control.store.incoming import sync_folder

FORMAT = 1
MANIFEST, DATABASE, CODE = "manifest.json", "homeport.db", "code"
KEYS = ("ca.pem", "ca.key", "secret.key", "server.key")
FOLDERS = (f"{CODE}/manifests", f"{CODE}/contents")


@dataclass(frozen=True, slots=True)
class Manifest:
    server_id: str
    version: str  # of Homeport
    schema: str
    made_at_s: float
    rows: dict[str, int]
    format: int = FORMAT


def write(file: Path, state_dir: Path, database: Path, manifest: Manifest) -> int:
    """Returns its size in bytes. Raises OSError."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            os.fchmod(raw.fileno(), 0o600)
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
                first = json.dumps(asdict(manifest), indent=1).encode()
                info = tarfile.TarInfo(MANIFEST)
                info.mode, info.size, info.mtime = 0o600, len(first), int(manifest.made_at_s)
                tar.addfile(info, io.BytesIO(first))
                _add(tar, DATABASE, database.open("rb"))
                for name, path in _kept(state_dir):
                    try:
                        opened = path.open("rb")
                    except FileNotFoundError:  # code that no run has used for a day, collected just now
                        continue
                    _add(tar, name, opened)
            raw.flush()
            os.fsync(raw.fileno())
            size = raw.tell()
        partial.replace(file)
        sync_folder(file.parent)
    finally:
        partial.unlink(missing_ok=True)
    return size


def unpack(file: Path, folder: Path) -> Manifest:
    """Into an empty folder (files 0600, folders 0700). Raises BadRequest for what is no whole backup, OSError."""
    found: Manifest | None = None
    names = set()
    try:
        with tarfile.open(file, mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or not _may_be(member.name):
                    raise BadRequest(f"{file} is no backup of Homeport: {member.name!r} does not belong into one")
                if found is None:
                    found = _manifest(file, member.name, content)
                    continue
                path = folder / member.name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                    out.flush()
                    os.fsync(out.fileno())
                os.utime(path, (member.mtime, member.mtime))  # code is kept for a day after its last use
                names.add(member.name)
    except (tarfile.TarError, EOFError) as error:
        raise BadRequest(f"{file} is no whole backup: {error}; take another one") from None
    missing = {DATABASE, *KEYS[:3]} - names
    if found is None or missing:
        raise BadRequest(f"{file} is no whole backup: {', '.join(sorted(missing)) or MANIFEST} is missing")
    return found


def _manifest(file: Path, name: str, content: IO[bytes]) -> Manifest:
    try:
        values = json.loads(content.read(1 << 20)) if name == MANIFEST else {}
        if values.get("format", 0) > FORMAT:
            raise BadRequest(f"{file} was made by Homeport {values.get('version')}; restore it with that version")
        return Manifest(**values)
    except (ValueError, TypeError, AttributeError):
        raise BadRequest(f"{file} is no backup of Homeport: it does not begin with a {MANIFEST} that fits") from None


def _kept(state_dir: Path) -> Iterator[tuple[str, Path]]:
    for name in KEYS:
        if (state_dir / name).exists():
            yield name, state_dir / name
    for folder in FOLDERS:  # manifests first: contents that come meanwhile are of none of them
        for path in sorted((state_dir / folder).iterdir()) if (state_dir / folder).is_dir() else ():
            if path.is_file():
                yield f"{folder}/{path.name}", path


def _may_be(name: str) -> bool:
    path = PurePosixPath(name)
    return name in {MANIFEST, DATABASE, *KEYS} or (str(path.parent) in FOLDERS and path.name not in {"..", "."})


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    with closing(content):
        info = tar.gettarinfo(arcname=name, fileobj=content)
        info.mode, info.uid, info.gid, info.uname, info.gname = 0o600, 0, 0, "", ""
        tar.addfile(info, content)
