"""Which folder is meant, and which ones nobody means."""

from collections.abc import Callable
from pathlib import Path

import pytest
from homeport.code import selection
from homeport.errors import Invalid

Git = Callable[..., None]


def test_the_top_level_when_it_is_a_repository(top: Path) -> None:
    (top / "deep").mkdir()
    file = top / "deep" / "x.homeport.yml"
    file.touch()
    (top / "a").touch()
    selected = selection.of_configuration(str(file))
    assert selected.root == str(top)
    assert sorted(selected.paths) == ["a", "deep/x.homeport.yml"]


def test_else_the_folder_of_the_file_and_not_what_is_above(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.homeport.yml").touch()
    selected = selection.of_configuration(str(tmp_path / "deep" / "x.homeport.yml"))
    assert (selected.root, selected.paths) == (str(tmp_path / "deep"), ["x.homeport.yml"])


def test_a_relative_name_and_a_symlinked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.yml").touch()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    assert selection.of_configuration("x.yml").root == str(tmp_path / "real")


@pytest.mark.usefixtures("top", "without_git")
def test_without_a_git_program_the_top_level_is_where_git_would_be(tmp_path: Path) -> None:
    top = tmp_path / "project"
    (top / "deep").mkdir()
    (top / "deep" / "x.yml").touch()
    (top / ".gitignore").write_text("*.log\n")
    (top / "a.log").touch()
    selected = selection.of_configuration(str(top / "deep" / "x.yml"))
    assert selected.root == str(top)
    assert sorted(selected.paths) == [".gitignore", "deep/x.yml"]


REFUSED = ["{home}/x.yml", "{home}/../x.yml", "/x.yml", "/tmp/x.yml", "/dev/stdin", "/proc/self/fd/0"]


@pytest.mark.parametrize("file", REFUSED)
def test_nobody_sends_these_by_accident(file: str) -> None:
    with pytest.raises(Invalid, match=r"move the configuration to a folder of its own, or pass --no-repo"):
        selection.of_configuration(file.format(home=Path.home()))


def test_a_home_folder_that_is_a_repository_was_made_one_on_purpose(git: Git) -> None:
    git(Path.home(), "init", "-q")
    (Path.home() / "x.yml").touch()
    assert selection.of_configuration(str(Path.home() / "x.yml")).paths == ["x.yml"]


def test_a_mapped_folder_of_a_repository_follows_its_rules(top: Path) -> None:
    (top / ".gitignore").write_text("*.log\n/data/\n")
    for folder in ("conf", "data"):
        (top / folder).mkdir()
        (top / folder / "a").touch()
        (top / folder / "a.log").touch()
    assert selection.of_mapping(str(top / "conf")).paths == ["a"]


def test_a_mapped_folder_that_is_ignored_is_meant_all_the_same(top: Path) -> None:
    (top / ".gitignore").write_text("/data/\n")
    (top / "data").mkdir()
    (top / "data" / "a").touch()
    assert selection.of_mapping(str(top / "data")).paths == ["a"]


def test_a_mapped_folder_without_a_repository(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a").touch()
    assert selection.of_mapping(str(tmp_path / "conf")).paths == ["a"]
    with pytest.raises(Invalid, match="your home folder"):
        selection.of_mapping(str(Path.home()))
