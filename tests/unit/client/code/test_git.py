"""What git says of a work tree in every state that one can be in; real git."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from homeport.code import git as asked
from homeport.errors import Invalid

Git = Callable[..., None]


def listed(folder: Path) -> list[str]:
    return sorted(asked.files(str(folder)))


def test_the_top_level_of_a_folder_deep_within(top: Path) -> None:
    (top / "a" / "b").mkdir(parents=True)
    assert asked.top_level(str(top / "a" / "b")) == str(top)


def test_a_top_level_whose_name_has_a_line_feed(tmp_path: Path, git: Git) -> None:
    folder = tmp_path / "odd\n"
    folder.mkdir()
    git(folder, "init", "-q")
    assert asked.top_level(str(folder)) == str(folder)


def test_no_work_tree_is_none(tmp_path: Path, top: Path, git: Git) -> None:
    (tmp_path / "plain").mkdir()
    assert asked.top_level(str(tmp_path / "plain")) is None
    assert asked.top_level(str(top / ".git")) is None
    git(tmp_path / "plain", "init", "-q", "--bare")
    assert asked.top_level(str(tmp_path / "plain")) is None


@pytest.mark.usefixtures("without_git")
def test_no_git_program_is_none(tmp_path: Path) -> None:
    assert asked.top_level(str(tmp_path)) is None


def test_tracked_changed_and_new_files_are_listed_and_ignored_ones_are_not(top: Path, git: Git) -> None:
    (top / ".gitignore").write_text("*.log\n/data/\n")
    (top / "src").mkdir()
    (top / "src" / ".gitignore").write_text("made\n!kept.log\n")
    for name in ("tracked", "changed", "tracked.log", "src/ä\n", "src/made", "src/kept.log", "x.log", "new name"):
        (top / name).write_text(name)
    git(top, "add", "tracked", "changed", "src")
    git(top, "add", "-f", "tracked.log")
    git(top, "commit", "-qm", "first")
    (top / "changed").write_text("otherwise")
    (top / "data").mkdir()
    (top / "data" / "big").touch()
    (top / "link").symlink_to("src")
    assert listed(top) == [
        ".gitignore", "changed", "link", "new name", "src/.gitignore", "src/kept.log", "src/ä\n", "tracked", "tracked.log",
    ]  # fmt: skip
    assert listed(top / "src") == [".gitignore", "kept.log", "ä\n"]


def test_what_the_user_ignores_everywhere_is_ignored(top: Path) -> None:
    (Path.home() / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignored\n")
    (Path.home() / "ignored").write_text("*.swp\n")
    (top / ".git" / "info").mkdir(exist_ok=True)
    (top / ".git" / "info" / "exclude").write_text("mine\n")
    for name in ("a", "a.swp", "mine"):
        (top / name).touch()
    assert listed(top) == ["a"]


def test_a_file_in_conflict_is_listed_once(top: Path, git: Git) -> None:
    def commit(content: str) -> None:
        (top / "a").write_text(content)
        git(top, "add", "a")
        git(top, "commit", "-qm", content)

    commit("first")
    git(top, "checkout", "-qb", "other")
    commit("theirs")
    git(top, "checkout", "-q", "main")
    commit("ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(top, "merge", "other")
    assert asked.files(str(top)) == ["a"]


def test_submodules_are_gone_into_with_their_own_rules(tmp_path: Path, top: Path, git: Git) -> None:
    library, inner = tmp_path / "library", tmp_path / "inner"
    for folder in (inner, library):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / ".gitignore").write_text("*.o\n")
        (folder / "code.c").touch()
        if folder is library:
            git(folder, "submodule", "--quiet", "add", str(inner), "deep")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "first")
    git(top, "submodule", "--quiet", "add", str(library), "vendor/lib")
    git(top, "submodule", "--quiet", "update", "--init", "--recursive")
    for name in ("new.c", "code.o", "deep/new.c", "deep/code.o"):
        (top / "vendor" / "lib" / name).touch()
    assert listed(top) == [
        ".gitmodules", "vendor/lib/.gitignore", "vendor/lib/.gitmodules", "vendor/lib/code.c",
        "vendor/lib/deep/.gitignore", "vendor/lib/deep/code.c", "vendor/lib/deep/new.c", "vendor/lib/new.c",
    ]  # fmt: skip


def test_a_submodule_that_is_not_checked_out_holds_nothing(tmp_path: Path, top: Path, git: Git) -> None:
    (tmp_path / "library").mkdir()
    git(tmp_path / "library", "init", "-q")
    git(tmp_path / "library", "commit", "-qm", "first", "--allow-empty")
    git(top, "submodule", "--quiet", "add", str(tmp_path / "library"), "lib")
    git(top, "submodule", "--quiet", "deinit", "-f", "lib")
    assert listed(top) == [".gitmodules"]
    (top / "lib" / "put there").touch()
    assert listed(top) == [".gitmodules", "lib/put there"]


def test_a_clone_that_nobody_added_is_gone_into(top: Path, git: Git) -> None:
    (top / "clone").mkdir()
    git(top / "clone", "init", "-q")
    (top / "clone" / ".gitignore").write_text("x\n")
    (top / "clone" / "x").touch()
    (top / "clone" / "y").touch()
    assert listed(top) == ["clone/.gitignore", "clone/y"]


@pytest.mark.parametrize("setting", ["core.fsmonitor", "core.hooksPath"])
def test_no_program_of_the_repository_is_run(top: Path, git: Git, tmp_path: Path, setting: str) -> None:
    hooks = top / "hooks"
    hooks.mkdir()
    program = hooks / "post-index-change"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    program.chmod(0o755)
    (top / "a").touch()
    git(top, "add", "a")
    git(top, "config", setting, str(program if setting == "core.fsmonitor" else hooks))
    assert "a" in listed(top)
    assert not (tmp_path / "was-run").exists()


def test_the_index_stays_as_it_was(top: Path, git: Git) -> None:
    (top / "a").write_text("1")
    git(top, "add", "a")
    os.utime(top / "a", (1, 1))
    before = (top / ".git" / "index").stat()
    assert listed(top) == ["a"]
    after = (top / ".git" / "index").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_the_repository_of_a_hook_around_us_is_not_taken_for_ours(
    top: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "-q")
    (top / "a").touch()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "none"))
    assert asked.top_level(str(top)) == str(top)
    assert listed(top) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_repository_of_another_user_is_named_with_what_to_do(top: Path) -> None:
    for path in (top, top / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(Invalid) as caught:
        asked.top_level(str(top))
    assert f"git config --global --add safe.directory {top}" in str(caught.value)
    assert "--no-repo" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_repository_is_one_line(top: Path) -> None:
    (top / ".git" / "config").write_text("[broken\n")
    with pytest.raises(Invalid, match=r"git cannot read .*project: bad config line 1.*--no-repo") as caught:
        asked.top_level(str(top))
    assert "\n" not in str(caught.value)


def test_a_broken_index_is_one_line(top: Path) -> None:
    (top / ".git" / "index").write_bytes(b"nonsense" * 10)
    with pytest.raises(Invalid, match=r"git cannot read .*--no-repo") as caught:
        asked.files(str(top))
    assert "\n" not in str(caught.value)


def test_a_git_that_says_it_could_not_look_into_a_folder_is_an_error(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can open everything, so a program in its place says what git says to others."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "git"
    program.write_text("#!/bin/sh\necho \"warning: could not open directory 'db/': Permission denied\" >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(Invalid, match=r"could not open directory 'db/': Permission denied; .*\.gitignore"):
        asked.files(str(top))
