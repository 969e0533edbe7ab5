"""Code upload end to end: a real git work tree, compared byte by byte with what lies in the container.

The tests share one stack; each applies what it needs.
"""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.stack import Stack, stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

CODE = """
type: service
name: %s
image: homeport-test/hello:1
commands:
  - pwd > /tmp/where
  - exec python3 /hello.py
port: 8000
auth: false
"""
Tree = dict[str, tuple[str, int, bytes]]  # path: kind, permissions, content or target


@pytest.fixture(scope="module")
def homeport() -> Iterator[Stack]:
    with stack() as made:
        yield made


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """A repository in the middle of somebody's work: everything that a work tree can have at once."""
    top = tmp_path / "project"
    (top / "src" / "deep").mkdir(parents=True)
    (top / "service").mkdir()
    git(top, "init", "-q", "-b", "main")
    (top / ".gitignore").write_text("*.log\n/data/\n")
    (top / "src" / ".gitignore").write_text("generated.txt\n!kept.log\n")
    (top / "committed.txt").write_text("as it was\n")
    (top / "changed.txt").write_text("old\n")
    (top / "deleted.txt").write_text("will go\n")
    (top / "old name.txt").write_text("renamed later\n")
    (top / "src" / "main.py").write_text("print('hello')\n")
    (top / "src" / "staged and changed.py").write_text("1\n")
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")
    (top / "changed.txt").write_text("new, and not committed\n")
    (top / "deleted.txt").unlink()
    git(top, "mv", "old name.txt", "new näme ✓.txt")
    (top / "src" / "staged and changed.py").write_text("2\n")
    git(top, "add", "src/staged and changed.py")
    (top / "src" / "staged and changed.py").write_text("3\n")
    (top / "untracked.bin").write_bytes(os.urandom(3_000_000))
    (top / "empty").touch()
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "private").write_text("mine\n")
    (top / "private").chmod(0o600)
    (top / "link").symlink_to("src/main.py")
    (top / "src" / "deep" / "up").symlink_to("../../committed.txt")
    (top / "folder link").symlink_to("src")
    (top / "dangling").symlink_to("nowhere")
    (top / "src" / "generated.txt").write_text("ignored\n")
    (top / "src" / "kept.log").write_text("not ignored\n")
    (top / "noise.log").write_text("ignored\n")
    (top / "data").mkdir()
    (top / "data" / "big").write_text("ignored\n")
    return top


EXPECTED = {
    ".gitignore", "src/.gitignore", "committed.txt", "changed.txt", "new näme ✓.txt", "src/main.py",
    "src/staged and changed.py", "untracked.bin", "empty", "run.sh", "private", "link", "src/deep/up", "folder link",
    "dangling", "src/kept.log",
}  # fmt: skip


def on_disk(top: Path, paths: set[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        file = top / path
        if file.is_symlink():
            tree[path] = ("link", 0, os.readlink(file).encode())
        else:
            tree[path] = ("file", file.stat().st_mode & 0o777, file.read_bytes())
    return tree


def in_container(container: Any, target: str = "/workflow") -> Tree:
    stream, _ = container.get_archive(target)
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        for entry in tar:
            path = entry.name.partition("/")[2]
            if entry.issym():
                tree[path] = ("link", 0, entry.linkname.encode())
            elif not entry.isdir():
                content = tar.extractfile(entry)
                assert content is not None
                tree[path] = ("file", entry.mode & 0o777, content.read())
    return tree


def text_of(container: Any, file: str) -> str:
    return next(iter(in_container(container, file).values()))[2].decode()


def apply(homeport: Stack, top: Path, name: str, *flags: str, text: str = CODE) -> subprocess.CompletedProcess[str]:
    """From a folder inside the work tree; without one from the folder itself."""
    file = (top / "service" if (top / ".git").exists() else top) / "s.homeport.yml"
    file.write_text(text % name)
    done = homeport.homeport("apply", "-y", "-f", str(file), *flags)
    assert done.returncode == 0, done.stderr
    return done


def only_container(homeport: Stack, name: str) -> Any:
    def look() -> Any:
        found = homeport.containers(name, everything=False)
        return found[0] if len(found) == 1 else None

    return wait_for(f"{name} has one container", look)


def test_a_work_tree_arrives_as_it_is(homeport: Stack, work_tree: Path) -> None:
    apply(homeport, work_tree, "tree")
    container = only_container(homeport, "tree")
    assert in_container(container) == on_disk(work_tree, EXPECTED)
    assert text_of(container, "/tmp/where") == "/workflow\n"


def test_a_changed_file_is_an_update_that_sends_only_it(homeport: Stack, work_tree: Path) -> None:
    apply(homeport, work_tree, "update")
    before = only_container(homeport, "update").id
    assert "unchanged" in apply(homeport, work_tree, "update").stderr
    (work_tree / "changed.txt").write_text("newer\n")
    (work_tree / "committed.txt").unlink()
    done = apply(homeport, work_tree, "update")
    assert "code/changed.txt" in done.stderr
    assert "rolling" in done.stderr
    assert "(1 file, 6B to upload)" in done.stderr
    container = only_container(homeport, "update")
    assert container.id != before
    assert in_container(container) == on_disk(work_tree, EXPECTED - {"committed.txt"})


def test_a_changed_document_alone_is_made_in_place(homeport: Stack, work_tree: Path) -> None:
    apply(homeport, work_tree, "still")
    before = only_container(homeport, "still").id
    done = apply(homeport, work_tree, "still", text=CODE + "stop_duration: 20s\n")
    assert "in place" in done.stderr
    assert only_container(homeport, "still").id == before


def test_replicas_do_not_see_each_others_writes(homeport: Stack, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("from the tree\n")
    text = CODE.replace("pwd > /tmp/where", "cat shared.txt > was.txt && echo $HOMEPORT_REPLICA > shared.txt")
    apply(homeport, tmp_path, "apart", text=text + "replicas: 2\n")
    containers = homeport.containers("apart", everything=False)
    assert sorted(text_of(container, "/workflow/shared.txt") for container in containers) == ["0\n", "1\n"]
    assert {text_of(container, "/workflow/was.txt") for container in containers} == {"from the tree\n"}


def test_a_container_that_is_started_again_keeps_its_files(homeport: Stack, tmp_path: Path) -> None:
    (tmp_path / "count.txt").write_text("")
    apply(homeport, tmp_path, "again", text=CODE.replace("pwd > /tmp/where", "echo start >> count.txt"))
    container = only_container(homeport, "again")
    container.kill()

    def started_twice() -> bool:
        container.reload()
        return container.status == "running" and text_of(container, "/workflow/count.txt") == "start\nstart\n"

    wait_for("the container runs again, with what it had written", started_twice)


def test_a_user_without_rights_may_write_in_its_code(homeport: Stack, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    text = CODE.replace("pwd > /tmp/where", "echo b >> a.txt && mkdir made") + "user: 1234\n"
    apply(homeport, tmp_path, "nobody", text=text)
    assert text_of(only_container(homeport, "nobody"), "/workflow/a.txt") == "a\nb\n"


def test_files_land_where_they_are_wanted(homeport: Stack, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "app.ini").write_text("x = 1\n")
    (tmp_path / "secret.key").write_text("k\n")
    text = CODE + "files:\n  - conf:/etc/app\n  - secret.key:/opt/keys/the.key\n"
    apply(homeport, tmp_path, "placed", text=text)
    container = only_container(homeport, "placed")
    assert text_of(container, "/etc/app/app.ini") == "x = 1\n"
    assert text_of(container, "/opt/keys/the.key") == "k\n"


def test_a_document_alone_has_the_same_working_directory(homeport: Stack, tmp_path: Path) -> None:
    apply(homeport, tmp_path, "empty")
    container = only_container(homeport, "empty")
    assert text_of(container, "/tmp/where") == "/workflow\n"
    assert in_container(container) == {}


def test_no_repo_sends_nothing(homeport: Stack, work_tree: Path) -> None:
    apply(homeport, work_tree, "bare", "--no-repo")
    assert text_of(only_container(homeport, "bare"), "/tmp/where") != "/workflow\n"
    assert get(homeport.gateway_port, "bare")[0] == 200


@pytest.mark.parametrize("kind", ["link", "large", "fifo"])
def test_what_cannot_be_sent_is_refused_with_its_name(homeport: Stack, tmp_path: Path, kind: str) -> None:
    match kind:
        case "link":
            (tmp_path / "passwords").symlink_to("/etc/passwd")
            words = ["passwords", "/etc/passwd"]
        case "large":
            with (tmp_path / "weights.bin").open("wb") as file:
                file.truncate(201_000_000)
            words = ["weights.bin", "201", "200", ".gitignore", "--no-repo"]
        case _:
            os.mkfifo(tmp_path / "pipe")
            words = ["pipe"]
    file = tmp_path / "s.homeport.yml"
    file.write_text(CODE % "refused")
    done = homeport.homeport("apply", "-y", "-f", str(file))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    missing = [word for word in words if word not in done.stderr]
    assert missing == [], done.stderr
    assert homeport.run("refused") == {}


def test_the_code_is_there_when_only_the_agent_is(homeport: Stack, tmp_path: Path) -> None:
    """A replica that is started again while the server is away has its code."""
    (tmp_path / "a.txt").write_text("a\n")
    apply(homeport, tmp_path, "alone")
    container = only_container(homeport, "alone")
    homeport.server.kill()
    try:
        container.remove(force=True)

        def made_anew() -> Any:
            return next((it for it in homeport.containers("alone", everything=False) if it.id != container.id), None)

        found = wait_for("the agent has made it anew", made_anew)
        assert text_of(found, "/workflow/a.txt") == "a\n"
    finally:
        homeport.server.start()
        wait_for("the server answers", lambda: homeport.homeport("ps").returncode == 0)
