"""Files on disk to one manifest, which the rules of all sides take."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from homeport.code.bundle import Bundle, Source, gather
from homeport.code.mappings import Mapped, read
from homeport.errors import Invalid
from homeport_protos import code

Git = Callable[..., None]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gathered(folder: Path, *files: str, repo: bool = True) -> Bundle:
    mapped, problems = read({"files": list(files)}, str(folder))
    assert problems == []
    bundle = gather(str(folder / "x.homeport.yml"), mapped, repo=repo)
    assert bundle is not None
    return bundle


def places(bundle: Bundle) -> dict[str, str]:
    """What each place holds: a hash, or "-> target"."""
    return {
        f"{tree.target}/{entry.path}": f"-> {entry.symlink}" if entry.symlink else entry.sha256
        for tree in bundle.manifest.trees
        for entry in tree.entries
    }


def targets(bundle: Bundle) -> list[str]:
    return [tree.target for tree in bundle.manifest.trees]


def test_a_folder_becomes_a_tree_in_order_with_sources_for_its_contents(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"two")
    (tmp_path / "b-c").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0o700)
    (tmp_path / "link").symlink_to("b")
    bundle = gathered(tmp_path)
    (tree,) = bundle.manifest.trees
    assert tree.target == "/workflow"
    assert [(entry.path, entry.mode, entry.size, entry.symlink) for entry in tree.entries] == [
        ("a", 0o700, 0, ""), ("b-c", 0o644, 3, ""), ("b/x", 0o644, 3, ""), ("link", 0, 0, "b"),
    ]  # fmt: skip
    assert bundle.sources == {sha256(b""): Source(f"{tmp_path}/a", 0), sha256(b"two"): bundle.sources[sha256(b"two")]}
    assert (bundle.file_count, bundle.total_bytes, bundle.root) == (4, 6, str(tmp_path))
    assert code.problems(bundle.manifest) == []


def test_equal_folders_have_equal_ids_wherever_they_lie(tmp_path: Path) -> None:
    ids = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("same")
        ids.append(code.code_id(gathered(tmp_path / name).manifest))
    assert ids[0] == ids[1]


def test_a_work_tree_as_it_is_now(top: Path, git: Git) -> None:
    for name in ("kept", "deleted", "renamed", "replaced", "folder/a"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(name)
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")
    (top / "deleted").unlink()
    git(top, "mv", "renamed", "new name")
    (top / "replaced").unlink()
    (top / "replaced").mkdir()
    (top / "replaced" / "inner").write_text("inner")
    (top / "folder" / "a").unlink()
    (top / "folder").rmdir()
    (top / "folder").symlink_to("replaced")
    (top / "kept").write_text("changed")
    assert places(gathered(top)) == {
        "/workflow/folder": "-> replaced",
        "/workflow/kept": sha256(b"changed"),
        "/workflow/new name": sha256(b"renamed"),
        "/workflow/replaced/inner": sha256(b"inner"),
    }


def test_an_empty_folder_is_an_empty_tree_and_no_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    alone = gather(str(tmp_path / "p" / "x.yml"), [], repo=True)
    assert alone is not None, "an empty folder is a folder: commands run there"
    assert [(tree.target, len(tree.entries)) for tree in alone.manifest.trees] == [("/workflow", 0)]
    (tmp_path / "p" / "x.yml").touch()
    assert gather(str(tmp_path / "p" / "x.yml"), [], repo=False) is None


def test_the_document_itself_stays_here_unless_files_names_it(tmp_path: Path) -> None:
    """A change of it alone must not be a change of the code: that would replace replicas for `replicas: 2`."""
    (tmp_path / "x.homeport.yml").touch()
    (tmp_path / "y.homeport.yml").touch()
    assert list(places(gathered(tmp_path))) == ["/workflow/y.homeport.yml"]
    named = gathered(tmp_path, "x.homeport.yml")
    assert list(places(named)) == ["/workflow/x.homeport.yml", "/workflow/y.homeport.yml"]


def test_files_land_in_trees_of_their_own_without_the_folder(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "app.ini").write_text("1")
    (tmp_path / "key").write_text("2")
    bundle = gathered(tmp_path, "conf:/etc/app", "key:/opt/keys/the.key", "key:/opt/keys/second", repo=False)
    assert targets(bundle) == ["/etc/app", "/opt/keys"]
    assert places(bundle) == {
        "/etc/app/app.ini": sha256(b"1"),
        "/opt/keys/second": sha256(b"2"),
        "/opt/keys/the.key": sha256(b"2"),
    }
    assert bundle.root == "`files`"


def test_files_lie_over_the_folder_and_over_what_stands_before_them(tmp_path: Path) -> None:
    for name in ("a", "d/x", "new/a", "other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("d")
    bundle = gathered(tmp_path, "other:a", "other:d", "new:link", "new:/data/in", "other:/data/in/a", "other:/data/z")
    assert targets(bundle) == ["/data", "/workflow"]
    assert code.problems(bundle.manifest) == []
    other = sha256(b"other")
    assert places(bundle) == {
        "/data/in/a": other,
        "/data/z": other,
        "/workflow/a": other,
        "/workflow/d": other,
        "/workflow/link/a": sha256(b"new/a"),
        "/workflow/new/a": sha256(b"new/a"),
        "/workflow/other": other,
    }


def test_symlinks_that_leave_the_folder_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "passwords").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../x")
    with pytest.raises(Invalid, match=r"2 reasons.*relative and stay in its folder.*\.gitignore.*--no-repo") as caught:
        gathered(tmp_path)
    assert [line.strip().partition(":")[0] for line in caught.value.details] == ["passwords", "up"]
    assert caught.value.details[0].endswith("to /etc/passwd")


def test_a_place_that_is_the_containers_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(Invalid) as caught:
        gathered(tmp_path, "a:/proc/x/a")
    assert caught.value.details == ("  /proc/x belongs to the container itself",)


def test_too_much_is_said_before_anything_is_read(tmp_path: Path) -> None:
    for number in range(3):
        with (tmp_path / f"{number}.bin").open("wb") as file:
            file.truncate(70_000_000)
    began_s = time.process_time()
    with pytest.raises(Invalid, match=r"210MB in 3 files, the limit is 200MB") as caught:
        gathered(tmp_path)
    assert len(caught.value.details) == 3
    assert time.process_time() - began_s < 0.1


def test_a_mapped_file_that_goes_meanwhile_is_one_line(tmp_path: Path) -> None:
    gone = Mapped(3, str(tmp_path / "gone"), "/etc/x", False)
    with pytest.raises(Invalid, match=r"files\[3\]: .*/gone is gone"):
        gather(str(tmp_path / "x.yml"), [gone], repo=False)


def test_five_thousand_files_are_hashed_in_about_a_second(top: Path, git: Git) -> None:
    for folder in range(50):
        (top / f"d{folder}").mkdir()
        for number in range(100):
            (top / f"d{folder}" / f"{number}.py").write_bytes(os.urandom(4000))
    git(top, "add", ".")
    began_s = time.process_time()
    assert gathered(top).file_count == 5000
    assert time.process_time() - began_s < 1.5
