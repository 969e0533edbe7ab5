"""leaving: what is forgotten, and what stays when it cannot be."""

from pathlib import Path

import pytest
from homeport_agent.leaving import KEPT, forget


def made(folder: Path) -> None:
    for name in KEPT:
        (folder / name).mkdir() if "." not in name else (folder / name).write_text("{}")
    (folder / "identity" / "key.pem").write_text("secret")


def test_nothing_of_the_server_is_left_and_what_is_the_hosts_own_stays(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "xids.toml").write_text("")
    forget(tmp_path)
    assert [it.name for it in tmp_path.iterdir()] == ["xids.toml"]


def test_what_was_never_there_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "identity").mkdir()
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_identity_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="identity"):
        forget(tmp_path)
