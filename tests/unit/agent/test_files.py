import os
import stat
from pathlib import Path

import pytest
from homeport_agent.files import write_atomically


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two", 0o644)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_leaves_nothing_beside_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomically(folder, b"new")
    assert os.listdir(tmp_path) == ["file"]
