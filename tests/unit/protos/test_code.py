"""The rules of a code manifest: every refusal, by the sentence that says it, and what is in order."""

import pytest
from homeport_protos import code
from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest, CodeTree

HASH = "a" * 64
OTHER = "b" * 64


def file(path: str, **more: object) -> CodeEntry:
    return CodeEntry(**{"path": path, "mode": 0o644, "sha256": HASH, "size": 3, **more})


def link(path: str, target: str, **more: object) -> CodeEntry:
    return CodeEntry(**{"path": path, "symlink": target, **more})


def tree(*entries: CodeEntry, target: str = code.WORKFLOW) -> CodeTree:
    return CodeTree(target=target, entries=entries)


def manifest(*entries: CodeEntry, target: str = code.WORKFLOW) -> CodeManifest:
    return CodeManifest(trees=[tree(*entries, target=target)])


GOOD = {
    "nothing": CodeManifest(),
    "files, symlinks and folders": manifest(
        file("a b/ü\n"), link("b", "a b"), link("c/d", "../b/./ü\n"), link("dangling", "no/such"), file("x", mode=0o777)
    ),
    "the whole of what is allowed": manifest(*(file(f"{number:05}", size=4000) for number in range(code.MAX_ENTRIES))),
    "an empty file": manifest(file("a", size=0)),
    "a content in several files": manifest(file("a"), file("b", mode=0o755)),
    "a folder beside the code": CodeManifest(trees=[tree(file("id"), target="/root/.ssh"), tree(file("a"))]),
    "a folder in the code": CodeManifest(trees=[tree(file("a")), tree(file("a"), target="/workflow/b")]),
    "as many symlinks one behind the other as Linux follows": manifest(
        *(link(f"{number:02}", f"{number + 1:02}") for number in range(40))
    ),
    "the deepest folder": manifest(file("/".join("d" * code.MAX_DEPTH))),
}


@pytest.mark.parametrize("name", GOOD)
def test_in_order(name: str) -> None:
    assert code.problems(GOOD[name]) == []


BAD = {
    "above": (manifest(file("../x")), "'../x' is no path inside the folder"),
    "above later": (manifest(file("a/../../x")), "is no path inside the folder"),
    "absolute": (manifest(file("/etc/passwd")), "'/etc/passwd' is no path inside the folder"),
    "empty": (manifest(file("")), "'' is no path inside the folder"),
    "a folder": (manifest(file("a/")), "is no path inside the folder"),
    "dot": (manifest(file("a/./b")), "is no path inside the folder"),
    "zero byte": (manifest(file("a\0b")), "is no path inside the folder"),
    "long name": (manifest(file("ä" * 128)), "is too long a path"),
    "long path": (manifest(file("/".join(["d" * 250] * 17))), "is too long a path"),
    "deep": (manifest(file("/".join("d" * (code.MAX_DEPTH + 1)))), "lies in more than 100 folders"),
    "twice": (manifest(file("a"), file("a")), "'a' comes twice, or is not in order"),
    "order": (manifest(file("b"), file("a")), "'a' comes twice, or is not in order"),
    "setuid": (manifest(file("a", mode=0o4755)), "a: the mode 4755 has more than permissions"),
    "no hash": (manifest(file("a", sha256="")), "a: it has no valid hash and size"),
    "upper case": (manifest(file("a", sha256="A" * 64)), "a: it has no valid hash and size"),
    "a path as a hash": (manifest(file("a", sha256="../" + "a" * 61)), "a: it has no valid hash and size"),
    "line feed behind the hash": (manifest(file("a", sha256=HASH + "\n")), "a: it has no valid hash and size"),
    "negative": (manifest(file("a", size=-1)), "a: it has no valid hash and size"),
    "two sizes": (manifest(file("a"), file("b", size=4)), "b: its content is said to have two sizes"),
    "symlink with content": (manifest(link("a", "b", sha256=HASH)), "a: a symlink has no mode and no content"),
    "symlink with a mode": (manifest(link("a", "b", mode=0o777)), "a: a symlink has no mode and no content"),
    "symlink with a size": (manifest(link("a", "b", size=1)), "a: a symlink has no mode and no content"),
    "symlink to a zero byte": (manifest(link("a", "b\0")), "a: it points to no valid path"),
    "long symlink": (manifest(link("a", "b" * 4097)), "a: it points to no valid path"),
    "deep symlink": (manifest(link("a", "b/" * 101)), "a: it points through more than 100 folders"),
    "absolute symlink": (manifest(link("a", "/workflow/b")), "a: the symlink points out of the folder"),
    "symlink to above": (manifest(link("a/b", "../..")), "a/b: the symlink points out of the folder"),
    "out and in again": (manifest(link("a", "../workflow/b")), "a: the symlink points out of the folder"),
    "out through another": (manifest(link("a", "b/../../x"), link("b", "c")), "a: the symlink points out of the folder"),
    "to itself": (manifest(link("a", "a")), "a: the symlink points out of the folder or to itself"),
    "in a circle": (manifest(link("a", "b/x"), link("b", "a")), "a: the symlink points out of the folder or to itself"),
    "one symlink more than Linux follows": (
        manifest(*(link(f"{number:02}", f"{number + 1:02}") for number in range(41))),
        "00: the symlink points out of the folder or to itself",
    ),
    "below a file": (manifest(file("a"), file("a/b")), "/workflow/a/b lies below /workflow/a, which is no folder"),
    "below a symlink": (manifest(link("a", "c"), file("a/b")), "/workflow/a/b lies below /workflow/a, which is no folder"),
    "far below": (manifest(link("a", "c"), file("a/b/c/d")), "lies below /workflow/a, which is no folder"),
    "below a symlink of another folder": (
        CodeManifest(trees=[tree(link("a", "c")), tree(file("x"), target="/workflow/a/b")]),
        "/workflow/a/b/x lies below /workflow/a, which is no folder",
    ),
    "at the same place": (
        CodeManifest(trees=[tree(file("a/b")), tree(file("b"), target="/workflow/a")]),
        "/workflow/a/b comes twice",
    ),
    "too many": (
        manifest(*(file(f"{number:05}", size=0) for number in range(code.MAX_ENTRIES + 1))),
        "50001 files in 1 folders are too many",
    ),
    "too many folders": (
        CodeManifest(trees=[tree(target=f"/w{number:03}") for number in range(101)]),
        "0 files in 101 folders are too many",
    ),
    "too much": (
        manifest(file("a", size=code.MAX_BYTES), file("b", sha256=OTHER, size=1_000_000)),
        "201.0 MB are too much: the limit is 200 MB",
    ),
    "too much in copies of one content": (
        manifest(*(file(f"{number}", size=100_000_000) for number in range(3))),
        "300.0 MB are too much",
    ),
    "folders not in order": (
        CodeManifest(trees=[tree(file("a")), tree(file("a"), target="/a")]),
        "the folder '/a' comes twice, or is not in order",
    ),
    "one folder twice": (CodeManifest(trees=[tree(), tree()]), "the folder '/workflow' comes twice"),
    "target relative": (manifest(target="workflow"), "'workflow' is no absolute path to put code at"),
    "target empty": (manifest(target=""), "'' is no absolute path to put code at"),
    "target everything": (manifest(target="/"), "'/' is no absolute path to put code at"),
    "target double": (manifest(target="//proc"), "'//proc' is no absolute path to put code at"),
    "target with a slash": (manifest(target="/a/"), "'/a/' is no absolute path to put code at"),
    "target above": (manifest(target="/a/../proc"), "'/a/../proc' is no absolute path to put code at"),
    "target proc": (manifest(target="/proc"), "/proc belongs to the container itself"),
    "target in sys": (manifest(target="/sys/x"), "/sys/x belongs to the container itself"),
    "target in dev": (manifest(target="/dev/shm"), "/dev/shm belongs to the container itself"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    bad, sentence = BAD[name]
    found = code.problems(bad)
    assert any(sentence in problem for problem in found), found


def test_only_so_many_problems_are_told() -> None:
    assert len(code.problems(manifest(*(file(f"../{number:03}") for number in range(100))))) == 20


def test_a_name_like_that_of_the_containers_own_is_fine() -> None:
    assert code.problems(manifest(file("a"), target="/process")) == []


def test_hostile_symlinks_cost_no_more_than_their_number() -> None:
    """Each leads through the one behind it a hundred times: followed one by one that would not end."""
    links = [link(f"{number:05}", f"{number + 1:05}/../" * 49 + "x") for number in range(20_000)]
    assert len(code.problems(manifest(*links))) == 20


def test_the_id_tells_every_difference() -> None:
    one = manifest(file("a"))
    others = [
        CodeManifest(), manifest(), manifest(file("b")), manifest(file("a", mode=0o755)), manifest(file("a", sha256=OTHER)),
        manifest(file("a", size=4)), manifest(link("a", "b")), manifest(file("a"), file("b")), manifest(file("a"), target="/b"),
        manifest(link("a", HASH)),
    ]  # fmt: skip
    ids = [code.code_id(each) for each in (one, *others)]
    assert len(set(ids)) == len(ids)
    assert code.code_id(manifest(file("a"))) == ids[0]
    assert len(ids[0]) == 64


def test_contents_are_there_once_and_bytes_as_often_as_they_are_laid_out() -> None:
    two = manifest(file("a"), file("b"), link("c", "a"), file("d", sha256=OTHER, size=5))
    assert code.contents(two) == {HASH: 3, OTHER: 5}
    assert code.total_bytes(two) == 11
