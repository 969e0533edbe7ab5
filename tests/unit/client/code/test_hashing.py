"""A file is read as it was looked at, or not at all."""

import hashlib
import os
from pathlib import Path

import pytest
from homeport.code.hashing import BLOCK_BYTES, blocks, sha256_of
from homeport.errors import Invalid


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
def test_the_hash_of_a_file_whatever_its_length(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(str(tmp_path / "a"), size) == hashlib.sha256(data).hexdigest()
    assert b"".join(bytes(block) for block in blocks(str(tmp_path / "a"), size, 1000)) == data


def test_what_a_log_has_grown_by_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"seen, new")
    assert sha256_of(str(tmp_path / "log"), 4) == hashlib.sha256(b"seen").hexdigest()


def test_a_file_that_is_shorter_by_now_is_changing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(Invalid, match=r"/a changed while it was read; run the command again.*\.gitignore"):
        sha256_of(str(tmp_path / "a"), 4)


def test_what_is_no_file_any_more_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name, why in [
        ("pipe", "changed while"),
        ("link", "symbolic links"),
        ("gone", "changed while"),
        (".", "changed while"),
    ]:
        with pytest.raises(Invalid, match=why):
            sha256_of(str(tmp_path / name), 4)


def test_large_files_are_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        sha256_of(str(tmp_path / "large"), 64 << 20)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3 * BLOCK_BYTES
