"""The tar stream, read back by tarfile, and what lies in a container of the fake engine after it."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from fakes.code import Trees, contents_of, manifest_of, sha256
from fakes.engine import FakeEngine, FakeFile
from homeport_agent.code.base import CodeDamaged
from homeport_agent.code.cache import CodeCache
from homeport_agent.code.lay import archive, lay
from homeport_agent.code.owner import ROOT, Owner
from homeport_agent.engine.base import ContainerSpec, PathKind
from homeport_protos.code import code_id

WORKER = Owner(1000, 1001)
BIG = os.urandom(700_001)
TREES: Trees = {
    "/srv/app": {"conf/app.toml": b"x = 1"},
    "/workflow": {"a.py": b"print(1)", "big": BIG, "empty": b"", "link": "pkg/b.py", "pkg/b.py": b"print(2)"},
}


def filled(folder: Path, trees: Trees) -> tuple[CodeCache, str]:
    cache, manifest = CodeCache(folder), manifest_of(trees, mode=0o640)
    for content in contents_of(trees).values():
        cache.receive(sha256(content), len(content)).add(content, is_last=True)
    cache.keep_manifest(code_id(manifest), manifest)
    return cache, code_id(manifest)


def entries(
    folder: Path, trees: Trees = TREES, there: frozenset[str] = frozenset(), mounted: tuple[str, ...] = ()
) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    cache, name = filled(folder, trees)
    manifest = cache.manifest(name)
    assert manifest is not None
    pieces = list(archive(manifest, cache, WORKER, there, mounted))
    assert max(map(len, pieces)) <= 2 * 256 * 1024 + 2048  # a big file never lies in memory whole
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as whole:
        files = {it.name: whole.extractfile(it) for it in whole if it.isreg()}
        return {f"/{it.name}": (it, file.read() if (file := files.get(it.name)) else b"") for it in whole}


def test_files_folders_and_symlinks_are_under_their_targets_and_the_users(tmp_path: Path) -> None:
    found = entries(tmp_path)
    assert sorted(found) == [
        *("/srv", "/srv/app", "/srv/app/conf", "/srv/app/conf/app.toml", "/workflow", "/workflow/a.py"),
        *("/workflow/big", "/workflow/empty", "/workflow/link", "/workflow/pkg", "/workflow/pkg/b.py"),
    ]
    assert found["/workflow/big"][1] == BIG
    assert found["/workflow/empty"][1] == b""
    assert found["/workflow/a.py"][0].mode == 0o640
    assert found["/workflow/pkg"][0].mode == 0o755
    assert found["/workflow/link"][0].linkname == "pkg/b.py"
    owners = {path: (it.uid, it.gid) for path, (it, _) in found.items()}
    assert owners.pop("/srv") == (0, 0)
    assert set(owners.values()) == {(1000, 1001)}


def test_folders_come_before_what_is_in_them(tmp_path: Path) -> None:
    seen = set[str]()
    for path in entries(tmp_path):
        above = path.rpartition("/")[0]
        assert above in seen | {""}
        seen.add(path)


def test_a_folder_that_the_image_has_stays_as_it_is(tmp_path: Path) -> None:
    found = entries(tmp_path, there=frozenset({"/srv", "/srv/app"}))
    assert "/srv/app" not in found
    assert "/srv/app/conf/app.toml" in found


def test_nothing_is_written_where_a_volume_lies(tmp_path: Path) -> None:
    found = entries(tmp_path, mounted=("/workflow/pkg", "/srv/"))
    assert not [path for path in found if path.startswith(("/workflow/pkg", "/srv"))]
    assert "/workflow/a.py" in found


def test_long_and_foreign_names_arrive(tmp_path: Path) -> None:
    long = "/".join(["d" * 60] * 6) + "/ä文.py"
    found = entries(tmp_path, {"/workflow": {long: b"x", "l": "t" * 200}})
    assert found[f"/workflow/{long}"][1] == b"x"
    assert found["/workflow/l"][0].linkname == "t" * 200


def test_a_damaged_content_breaks_the_stream_off(tmp_path: Path) -> None:
    cache, name = filled(tmp_path, TREES)
    manifest = cache.manifest(name)
    assert manifest is not None
    next((cache.folder / "contents").rglob(sha256(BIG))).write_bytes(bytes(len(BIG)))
    with pytest.raises(CodeDamaged):
        list(archive(manifest, cache, ROOT, frozenset(), ()))
    assert sha256(BIG) in cache.missing(manifest)


async def laid(folder: Path, trees: Trees, user: str = "", **before: FakeFile) -> dict[str, FakeFile]:
    engine = FakeEngine({"hello:1"}, {})
    container = await engine.create(ContainerSpec("c", (), "hello:1", user=user))
    files = engine.containers["c"].files
    files |= {path.replace("__", "/"): file for path, file in before.items()}
    cache, name = filled(folder, trees)
    await lay(engine, container, name, cache)
    return files


async def test_a_named_user_is_looked_up_in_the_container(tmp_path: Path) -> None:
    files = await laid(tmp_path, TREES, user="nobody")
    assert files["/workflow"].owner == files["/workflow/a.py"].owner == (65534, 65534)
    assert files["/workflow/a.py"].data == b"print(1)"


async def test_one_file_into_a_folder_of_the_image_leaves_that_folder_to_root(tmp_path: Path) -> None:
    files = await laid(tmp_path, {"/etc": {"app.conf": b"x"}}, user="nobody")
    assert (files["/etc"].owner, files["/etc/app.conf"].owner) == ((0, 0), (65534, 65534))


async def test_a_workflow_folder_of_the_image_becomes_the_users_and_keeps_its_files(tmp_path: Path) -> None:
    own, file = FakeFile(PathKind.FOLDER, owner=(0, 0)), FakeFile(PathKind.FILE, b"image's")
    files = await laid(tmp_path, TREES, user="1000", __workflow=own, __workflow__model=file)
    assert files["/workflow"].owner == (1000, 0)
    assert files["/workflow/model"].data == b"image's"


async def test_a_workflow_that_is_a_symlink_in_the_image_stays_one(tmp_path: Path) -> None:
    files = await laid(tmp_path, TREES, __workflow=FakeFile(PathKind.SYMLINK, link="/srv/code"))
    assert files["/workflow"].kind is PathKind.SYMLINK


async def test_code_that_is_not_here_is_an_error(tmp_path: Path) -> None:
    engine = FakeEngine({"hello:1"}, {})
    container = await engine.create(ContainerSpec("c", (), "hello:1"))
    with pytest.raises(CodeDamaged, match="not on this host any more"):
        await lay(engine, container, "f" * 64, CodeCache(tmp_path))
    assert engine.calls == ["create"]
