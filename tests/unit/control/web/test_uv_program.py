"""web/uv_program: the program that this environment was installed with, by its wheel's own hash, and its compressed copy."""

import gzip
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

from homeport_control.web.uv_program import UvProgram, compressed, find_uv


def found() -> UvProgram:
    program = find_uv()
    assert program is not None, "uv is one of the server's own dependencies"
    return program


def test_the_hash_of_its_wheel_is_the_hash_of_the_program() -> None:
    program = found()
    assert hashlib.sha256(program.path.read_bytes()).hexdigest() == program.sha256
    said = subprocess.run([program.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("uv ")


def test_the_copy_is_made_once_and_those_of_older_servers_go(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"a program")
    program = replace(found(), path=tmp_path / "small", sha256="ab" * 32)
    old = compressed(replace(program, sha256="cd" * 32), tmp_path)
    made = compressed(program, tmp_path)
    assert gzip.decompress(made.read_bytes()) == b"a program"
    assert not old.exists()
    (tmp_path / "small").unlink()
    assert compressed(program, tmp_path) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == [made.name]
