"""Folders without git: `.gitignore` by its rules, compared with git itself where that can be asked."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from homeport.code import git as asked
from homeport.code import walk
from homeport.errors import Invalid

Git = Callable[..., None]


def write(folder: Path, *names: str, **rules: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for place, text in rules.items():
        base = folder if place == "top" else folder / place
        base.mkdir(parents=True, exist_ok=True)
        (base / ".gitignore").write_text(text)


RULES = {
    "names": {"top": "*.log\nbuild/\n__pycache__\n"},
    "anchored": {"top": "/a.log\n/d/build\n"},
    "taken back": {"top": "*.log\n!d/a.log\n"},
    "taken back below": {"top": "*.log\n", "d": "!a.log\n"},
    "not below an ignored folder": {"top": "build\n!build/x\n", "build": "!x\n"},
    "all but": {"top": "/*\n!/d\n/d/*\n!/d/a.log\n!.gitignore\n"},
    "deep": {"top": "**/e/*.log\nd/**/x\n"},
    "odd lines": {"top": "# *.py\n\n\\#a\n  \n!\n\\\n*.log   \nname\\ \n", "d": "[\n"},
    "deeper wins": {"top": "!a.log\n", "d": "a.log\n"},
    "everything": {"d": "*\n"},
    "classes": {"top": "[a-b].log\n?.py\n"},
    "windows": {"top": "*.log\r\nbuild/\r\n"},
}


@pytest.mark.parametrize("name", RULES)
def test_ignored_as_git_does(top: Path, name: str) -> None:
    files = [
        "a.log",
        "c.log",
        "a.py",
        "build/x",
        "d/a.log",
        "d/build/x",
        "d/e/a.log",
        "d/e/x",
        "x",
        "#a",
        "name ",
        "__pycache__/y",
    ]
    write(top, *files, **RULES[name])
    assert sorted(walk.files(str(top))) == sorted(asked.files(str(top)))
    assert len(asked.files(str(top))) > 1


def test_what_belongs_to_git_is_left_out_and_symlinks_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", "sub/.git", "sub/a", ".gitmodules", "empty/.gitignore")
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "loop").symlink_to(".")
    assert sorted(walk.files(str(tmp_path))) == [".gitmodules", "empty/.gitignore", "link", "loop", "sub/a"]


def test_a_gitignore_that_is_no_file_is_none(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "d/.gitignore/a.log", rules="*.log\n")
    (tmp_path / ".gitignore").symlink_to("rules/.gitignore")
    assert sorted(walk.files(str(tmp_path))) == [".gitignore", "a.log", "d/.gitignore/a.log", "rules/.gitignore"]


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    (tmp_path / ".gitignore").write_bytes(b"*.log\ncaf\xe8\n")
    assert sorted(map(os.fsencode, walk.files(str(tmp_path)))) == [b".gitignore", b"caf\xe9"]


def test_what_is_no_project_is_given_up_on(tmp_path: Path) -> None:
    write(tmp_path, *(f"d{number}/x" for number in range(11)))
    with pytest.raises(Invalid, match=r"more than 10 files.*--no-repo"):
        walk.files(str(tmp_path), most=10)


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"cannot look into .*none: No such file or directory"):
        walk.files(str(tmp_path / "none"))
