"""store/code: manifests and contents as files, whole or not at all; what goes and what stays."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from homeport_control.domain.errors import NotReady
from homeport_control.store.code import PIECE_BYTES, CodeStore

CODE, OTHER = "a" * 64, "b" * 64
HELLO, EMPTY, LARGE = b"hello", b"", bytes(range(256)) * 4096  # a megabyte
DAY_S = 86400.0


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sizes(*contents: bytes) -> dict[str, int]:
    return {sha256(data): len(data) for data in contents}


@pytest.fixture
def store(tmp_path: Path) -> CodeStore:
    return CodeStore(tmp_path / "code", keep_free_bytes=0)


async def put(store: CodeStore, *contents: bytes) -> None:
    for data in contents:
        async with store.incoming(sha256(data), len(data)) as incoming:
            await incoming.take(data, last=True)


async def read(store: CodeStore, *contents: bytes) -> list[tuple[str, bytes, bool]]:
    asked = [sha256(data) for data in contents]
    return [(piece.sha256, piece.data, piece.last) async for piece in store.pieces(asked)]


def files(tmp_path: Path) -> dict[str, list[str]]:
    return {folder.name: sorted(os.listdir(folder)) for folder in sorted((tmp_path / "code").iterdir())}


async def test_a_manifest_is_kept_and_says_which_contents_are_missing(store: CodeStore) -> None:
    assert await store.get(CODE) is None
    assert await store.missing(CODE) is None
    assert await store.keep(CODE, b"opaque\n\0bytes", sizes(HELLO, LARGE)) == sorted(sizes(HELLO, LARGE))
    await put(store, HELLO)
    assert await store.missing(CODE) == 1
    assert await store.keep(CODE, b"opaque\n\0bytes", sizes(HELLO, LARGE)) == [sha256(LARGE)]
    await put(store, LARGE)
    assert await store.missing(CODE) == 0
    kept = await store.get(CODE)
    assert kept is not None
    assert (kept.manifest, kept.contents) == (b"opaque\n\0bytes", sizes(HELLO, LARGE))


async def test_a_content_of_another_size_is_not_the_one_that_is_there(store: CodeStore) -> None:
    await store.keep(CODE, b"", sizes(HELLO))
    await put(store, HELLO)
    assert await store.keep(OTHER, b"", {sha256(HELLO): 6}) == [sha256(HELLO)]


async def test_contents_come_back_in_order_and_in_pieces(store: CodeStore) -> None:
    exact = b"x" * PIECE_BYTES
    await store.keep(CODE, b"", sizes(HELLO, EMPTY, LARGE, exact))
    await put(store, HELLO, EMPTY, LARGE, exact)
    pieces = await read(store, LARGE, EMPTY, exact, HELLO)
    assert b"".join(data for name, data, _ in pieces if name == sha256(LARGE)) == LARGE
    assert max(len(data) for _, data, _ in pieces) == PIECE_BYTES
    assert [name for name, _, last in pieces if last] == [sha256(data) for data in (LARGE, EMPTY, exact, HELLO)]
    assert pieces[-3:] == [(sha256(EMPTY), b"", True), (sha256(exact), exact, True), (sha256(HELLO), HELLO, True)]


async def test_only_the_servers_user_can_read_it(store: CodeStore, tmp_path: Path) -> None:
    await store.keep(CODE, b"", sizes(HELLO))
    await put(store, HELLO)
    for path in (tmp_path / "code", *(tmp_path / "code").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("code_id", ["", "../secret.key", "..", "A" * 64, CODE + "/x"])
async def test_what_is_no_code_id_is_never_a_path(store: CodeStore, tmp_path: Path, code_id: str) -> None:
    await store.keep(CODE, b"", {})
    (tmp_path / "secret.key").write_text("{}\nsecret")
    assert await store.get(code_id) is None
    assert await store.missing(code_id) is None


async def test_a_content_that_was_lost_is_told_in_words(store: CodeStore) -> None:
    with pytest.raises(NotReady, match=f"cannot read the content {sha256(HELLO)[:12]}: No such file"):
        await read(store, HELLO)


async def test_code_that_does_not_fit_is_refused_with_numbers(tmp_path: Path) -> None:
    store = CodeStore(tmp_path / "code", keep_free_bytes=1 << 60)
    with pytest.raises(NotReady, match=r"no room for this code: it needs 0\.0 MB, \d+ MB are free"):
        await store.keep(CODE, b"", sizes(HELLO))
    assert await store.keep(OTHER, b"", {}) == []  # nothing is missing: it needs no room


async def test_a_folder_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("a file")
    with pytest.raises(NotReady, match=r"the server cannot use .*/code: (File exists|Not a directory)"):
        await CodeStore(tmp_path / "code").keep(CODE, b"", {})


async def test_what_nobody_uses_goes_with_its_contents_and_what_is_shared_stays(
    store: CodeStore, tmp_path: Path
) -> None:
    await store.keep(CODE, b"", sizes(HELLO, LARGE))
    await store.keep(OTHER, b"", sizes(HELLO))
    await put(store, HELLO, LARGE)
    now_s = time.time()
    assert set(await store.used_at_s()) == {CODE, OTHER}
    assert await store.remove([CODE], now_s + 1) == 2
    assert files(tmp_path) == {"contents": [sha256(HELLO)], "incoming": [], "manifests": [OTHER]}
    assert await store.remove([CODE], now_s + 1) == 0


async def test_what_was_asked_for_since_then_stays(store: CodeStore) -> None:
    for ask in (store.missing(CODE), store.keep(CODE, b"", sizes(HELLO))):
        await store.keep(CODE, b"", sizes(HELLO))
        await put(store, HELLO)
        os.utime(store._manifests / CODE, (1000.0, 1000.0))
        await ask
        assert await store.remove([CODE], time.time() - DAY_S) == 0
        assert await store.missing(CODE) == 0


async def test_an_upload_that_is_under_way_keeps_what_it_has_sent(store: CodeStore) -> None:
    await store.keep(CODE, b"", sizes(HELLO, LARGE))
    os.utime(store._manifests / CODE, (1000.0, 1000.0))
    await store.keep(OTHER, b"", sizes(HELLO, LARGE, b"more"))
    await put(store, HELLO)
    async with store.incoming(sha256(LARGE), len(LARGE)) as incoming:
        await incoming.take(LARGE[:1000], last=False)
        assert await store.remove([CODE], time.time() - DAY_S) == 1
        await incoming.take(LARGE[1000:], last=True)
    assert await store.keep(OTHER, b"", sizes(HELLO, LARGE, b"more")) == [sha256(b"more")]


async def test_what_an_upload_left_behind_goes_too(store: CodeStore, tmp_path: Path) -> None:
    await store.keep(CODE, b"", {})
    left = tmp_path / "code" / "incoming" / "broken-off"
    left.write_bytes(b"half")
    assert await store.remove([], time.time() - DAY_S) == 0
    os.utime(left, (1000.0, 1000.0))
    assert await store.remove([], time.time() - DAY_S) == 1


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "homeport-test", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("needs to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_is_told_in_words_and_nothing_of_the_content_stays(full_disk: Path) -> None:
    store = CodeStore(full_disk / "code", keep_free_bytes=0)
    await store.keep(CODE, b"", sizes(HELLO))
    incoming = store.incoming(sha256(LARGE), len(LARGE))
    with pytest.raises(NotReady, match="the server's disk is full: code cannot be kept; free some space for"):
        async with incoming:
            await incoming.take(LARGE, last=True)
    assert files(full_disk)["incoming"] == files(full_disk)["contents"] == []
