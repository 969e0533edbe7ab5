"""`files`: each shape that the language has, and each mistake that only the caller's machine can see."""

from pathlib import Path

import pytest
from homeport.code.mappings import Mapped, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p" / "conf").mkdir(parents=True)
    (tmp_path / "p" / "a.txt").touch()
    (tmp_path / "beside").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").touch()
    return tmp_path / "p"


def test_files_and_folders_land_where_they_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent / "home"))
    files = [
        "a.txt",
        "./conf:etc//app/",
        {"local_path": "../beside", "path": "/opt/./x"},
        "~/key:/root/.ssh/key",
        f"{folder}/a.txt:b.txt",
        ".:sub",
    ]
    mapped, problems = read({"files": files}, str(folder))
    assert problems == []
    above = folder.parent
    assert mapped == [
        Mapped(0, f"{folder}/a.txt", "/workflow/a.txt", False),
        Mapped(1, f"{folder}/conf", "/workflow/etc/app", True),
        Mapped(2, f"{above}/beside", "/opt/x", False),
        Mapped(3, f"{above}/home/key", "/root/.ssh/key", False),
        Mapped(4, f"{folder}/a.txt", "/workflow/b.txt", False),
        Mapped(5, str(folder), "/workflow/sub", True),
    ]


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("missing:/x/y", "there is no `missing` on this machine", "Looked for "),
        ("~/key", "`~` says nothing about where it lands in the container", "Write `~/key:/path/in/the/container`"),
        ("../beside", "`../beside` leads out of /workflow in the container", "Write `../beside:"),
        ("a.txt:../x", "`../x` leads out of /workflow", "Write `a.txt:"),
        ("conf:/", "nothing can be put to `/` itself", "Put it into a folder"),
        ("a.txt:/b.txt", "nothing can be put to `/b.txt` itself", "Put it into a folder"),
    ],
)
def test_a_mistake_has_the_path_of_its_key(folder: Path, given: str, message: str, hint: str) -> None:
    mapped, (problem,) = read({"files": ["a.txt", given]}, str(folder))
    assert len(mapped) == 1
    assert problem.path == "files[1]"
    assert problem.message.startswith(message)
    assert problem.hint.startswith(hint)


def test_a_symlink_that_is_named_is_what_it_points_to(folder: Path) -> None:
    (folder / "link").symlink_to("conf")
    (mapped,), _ = read({"files": ["link:/etc/app"]}, str(folder))
    assert (mapped.local, mapped.is_folder) == (f"{folder}/conf", True)


@pytest.mark.parametrize(
    "content", [{}, {"files": None}, {"files": "a"}, {"files": [1, {}, {"path": "x"}, "", [], None]}, [], None]
)
def test_what_the_language_does_not_allow_is_left_to_the_server(folder: Path, content: object) -> None:
    assert read(content, str(folder)) == ([], [])
