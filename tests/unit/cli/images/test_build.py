"""images/build without making anything: what would run, and what is said when it cannot. The real thing: tests/e2e."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from homeport_cli.errors import CliError, UsageError
from homeport_cli.images.build import Wish, build, dockerfiles
from typer.testing import Result

Homeport = Callable[..., Result]


def test_a_dry_run_says_every_command_and_does_none(homeport: Homeport) -> None:
    done = homeport("image", "build", "--python", "3.11", "--dry-run", "--mirror", "http://lab.example/debian")
    assert (done.exit_code, done.stdout) == (0, "")
    first, bootstrap, importing = done.stderr.splitlines()
    assert first == "homeport/base:py3.11: Python 3.11 of Debian bookworm, from http://lab.example/debian"
    assert bootstrap.startswith("would run: mmdebstrap ")
    assert "bookworm" in bootstrap
    assert importing.startswith("would run: docker import ")
    assert importing.endswith("homeport/base:py3.11")


@pytest.mark.parametrize(
    ("wish", "image"),
    [
        (Wish("3.12"), "homeport/base:py3.12"),
        (Wish("3.12", variant="cuda"), "homeport/base:py3.12-cuda"),
        (Wish("3.12", tag="lab/base:1", variant="cuda"), "lab/base:1"),
    ],
)
def test_its_name_is_the_one_that_the_server_asks_for(wish: Wish, image: str) -> None:
    assert build(wish, lambda line: None, dry_run=True) == image


def test_an_image_for_gpus_has_a_compiler_and_asks_for_the_drivers_libraries() -> None:
    said: list[str] = []
    build(Wish("3.11", variant="cuda"), said.append, dry_run=True)
    assert ",gcc," in said[1]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in said[2]


def test_a_dockerfile_is_built_where_a_registry_is_asked_for() -> None:
    for variant, name in (("", "Dockerfile"), ("cuda", "Dockerfile.cuda"), ("nvcc", "Dockerfile.nvcc")):
        said: list[str] = []
        build(Wish("3.13", variant=variant, from_registry=True), said.append, dry_run=True)
        assert f"{dockerfiles() / name}" in said[1]
        assert "--build-arg PYTHON=3.13" in said[1]
        text = (dockerfiles() / name).read_text()
        assert all(word in text for word in ("ARG PYTHON", "USER root", "WORKDIR /workflow"))


@pytest.mark.parametrize(
    ("wish", "word"),
    [(Wish("3.8"), "3.8"), (Wish("3.11", variant="rocm"), "rocm"), (Wish("3.11", variant="nvcc"), "--from-registry")],
)
def test_what_cannot_be_made_is_a_mistake_of_the_caller(wish: Wish, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        build(wish, lambda line: None, dry_run=True)


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is all of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="it says that it needs root, before all else")


@ROOT
def test_what_is_missing_is_named_before_anything_begins(only: Path) -> None:
    wish = Wish("3.11")
    with pytest.raises(CliError, match="apt-get install mmdebstrap"):
        build(wish, lambda line: None)
    program(only, "mmdebstrap", "exit 1")
    with pytest.raises(CliError, match="docker is not installed"):
        build(wish, lambda line: None)
    program(only, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(CliError, match="Docker does not answer: Cannot connect"):
        build(wish, lambda line: None)


@ROOT
def test_a_step_that_fails_is_one_line_and_leaves_nothing(
    only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    program(only, "docker", 'case "$1" in version) echo 20.10;; *) echo ran "$@" >&2; exit 1;; esac')
    program(only, "mmdebstrap", "echo 'I: begin'; echo 'E: Unable to fetch bookworm'; echo 'I: the end'; exit 1")
    with pytest.raises(CliError) as caught:
        build(Wish("3.11", mirror="http://lab.example/debian"), lambda line: None)
    assert str(caught.value) == "mmdebstrap failed: E: Unable to fetch bookworm"
    program(only, "mmdebstrap", "exit 0")
    with pytest.raises(CliError, match="docker failed: ran import"):
        build(Wish("3.11", mirror="http://lab.example/debian"), lambda line: None)
    assert list(work.iterdir()) == []
