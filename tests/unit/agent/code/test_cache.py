import stat
from pathlib import Path

import pytest
from fakes.code import contents_of, manifest_of, sha256
from homeport_agent.code.base import CodeDamaged
from homeport_agent.code.cache import CodeCache
from homeport_protos.code import code_id

TREES = {"/workflow": {"a.py": b"print(1)", "copy.py": b"print(1)", "empty": b"", "link": "a.py"}}
MANIFEST = manifest_of(TREES)
ID = code_id(MANIFEST)


def receive(cache: CodeCache, content: bytes, name: str = "", size: int = -1) -> None:
    incoming = cache.receive(name or sha256(content), len(content) if size < 0 else size)
    try:
        incoming.add(content[:3], is_last=False)
        incoming.add(content[3:], is_last=True)
    finally:
        incoming.drop()


@pytest.fixture
def cache(tmp_path: Path) -> CodeCache:
    return CodeCache(tmp_path)


def test_a_manifest_is_kept_and_read_back(cache: CodeCache) -> None:
    assert cache.manifest(ID) is None
    cache.keep_manifest(ID, MANIFEST)
    assert cache.manifest(ID) == MANIFEST
    assert list(cache.manifests()) == [ID]


@pytest.mark.parametrize("text", [b"", b"\xff\xff\xff", b"nonsense"])
def test_a_manifest_that_is_not_what_its_name_says_is_none_and_goes(cache: CodeCache, text: bytes) -> None:
    cache.keep_manifest(ID, MANIFEST)
    path = cache.folder / "manifests" / ID
    path.write_bytes(text)
    assert cache.manifest(ID) is None
    assert not path.exists()


def test_each_content_is_missing_once_until_it_came_whole(cache: CodeCache) -> None:
    expected = {sha256(it): len(it) for it in contents_of(TREES).values()}
    assert cache.missing(MANIFEST) == expected
    for content in contents_of(TREES).values():
        receive(cache, content)
    assert cache.missing(MANIFEST) == {}
    assert b"".join(cache.read(sha256(b"print(1)"))) == b"print(1)"


def test_nobody_else_may_read_what_is_kept(cache: CodeCache) -> None:
    cache.keep_manifest(ID, MANIFEST)
    receive(cache, b"secret key")
    modes = {stat.S_IMODE(it.stat().st_mode) for it in cache.folder.rglob("*") if it.is_file()}
    folders = {stat.S_IMODE(it.stat().st_mode) for it in [cache.folder, *cache.folder.rglob("*")] if it.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


@pytest.mark.parametrize(
    ("content", "name", "size"),
    [(b"other", sha256(b"asked"), 5), (b"too long", sha256(b"too"), 3), (b"short", sha256(b"short!"), 6)],
)
def test_a_content_that_is_not_what_was_asked_for_is_refused_and_leaves_nothing(
    cache: CodeCache, content: bytes, name: str, size: int
) -> None:
    with pytest.raises(CodeDamaged):
        receive(cache, content, name, size)
    assert [it for it in cache.folder.rglob("*") if it.is_file()] == []


def test_a_content_that_was_damaged_on_the_disk_is_noticed_and_fetched_again(cache: CodeCache) -> None:
    receive(cache, b"whole")
    path = next(it for it in (cache.folder / "contents").rglob("*") if it.is_file())
    path.write_bytes(b"wh0le")
    with pytest.raises(CodeDamaged, match="damaged"):
        list(cache.read(sha256(b"whole")))
    assert not path.exists()
    with pytest.raises(CodeDamaged, match="gone"):
        list(cache.read(sha256(b"whole")))


def test_a_content_that_lost_its_end_is_missing(cache: CodeCache) -> None:
    receive(cache, b"print(1)")
    next(it for it in (cache.folder / "contents").rglob("*") if it.is_file()).write_bytes(b"")
    assert sha256(b"print(1)") in cache.missing(MANIFEST)


def test_what_an_earlier_process_was_receiving_goes(cache: CodeCache) -> None:
    cache.receive(sha256(b"half"), 4).add(b"ha", is_last=False)
    assert [it for it in cache.folder.rglob("*") if it.is_file()] != []
    cache.remove_incoming()
    assert [it for it in cache.folder.rglob("*") if it.is_file()] == []
