"""What each file is, and what is refused before any is read."""

import os
import socket
from pathlib import Path

import pytest
from homeport.code.selection import Selection
from homeport.code.survey import Item, survey
from homeport.errors import Invalid


def of(folder: Path, *paths: str) -> list[Item]:
    return survey(Selection(str(folder), list(paths)))


def test_files_with_their_modes_and_sizes_and_symlinks_with_their_targets(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run").write_text("abc")
    (tmp_path / "d" / "run").chmod(0o4750)
    (tmp_path / "link").symlink_to("d/./run")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert of(tmp_path, "d/run", "link", "dangling") == [
        Item(f"{tmp_path}/d/run", "d/run", 0o750, 3),
        Item(f"{tmp_path}/link", "link", symlink="d/./run"),
        Item(f"{tmp_path}/dangling", "dangling", symlink="nowhere"),
    ]


def test_what_is_gone_or_has_become_something_else_is_not_there(tmp_path: Path) -> None:
    """A work tree lists what git tracks: a file that is deleted, or in a folder that is a file or a symlink by now."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").touch()
    (tmp_path / "was folder").symlink_to("real")
    (tmp_path / "is file").touch()
    (tmp_path / "is folder").mkdir()
    found = of(tmp_path, "gone", "gone/too", "was folder/a", "is file/a", "is folder", "real/a", "was folder")
    assert [item.path for item in found] == ["real/a", "was folder"]


def test_sockets_pipes_and_devices_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        os.mkfifo(tmp_path / "pipe\n")
        monkeypatch.chdir(tmp_path)  # the path of a socket may be 108 bytes long
        listener.bind("server.sock")
        with pytest.raises(Invalid) as caught:
            of(tmp_path, "pipe\n", "server.sock")
    assert str(caught.value).startswith("2 files in ")
    assert "--no-repo" in str(caught.value)
    assert caught.value.details == ("  pipe\\n (a named pipe)", "  server.sock (a socket)")


def test_a_device_is_refused_by_name() -> None:
    with pytest.raises(Invalid) as caught:
        of(Path("/dev"), "null")
    assert caught.value.details == ("  null (a device)",)


@pytest.mark.parametrize("is_link", [False, True])
def test_names_that_are_no_utf_8_are_refused_in_words(tmp_path: Path, is_link: bool) -> None:
    name = os.fsdecode(b"caf\xe9")
    if is_link:
        (tmp_path / "link").symlink_to(name)
    else:
        (tmp_path / name).touch()
    with pytest.raises(Invalid, match=r"1 file in .*UTF-8.*rename it") as caught:
        of(tmp_path, "link" if is_link else name)
    assert caught.value.details == ("  link" if is_link else "  caf\\udce9",)


def test_a_path_that_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"cannot read .*: File name too long.*--no-repo"):
        of(tmp_path, "a" * 300)
