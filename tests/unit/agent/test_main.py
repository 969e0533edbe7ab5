"""What `homeport agent` answers to a wrong start: one line, the right exit code, nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def agent(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "homeport_agent", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOMEPORT_", "DOCKER_"))}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**clean, **environment}, check=False
    )


def test_an_agent_that_has_not_joined_says_how_to(tmp_path: Path) -> None:
    done = agent("run", "--state-dir", str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("error: this host has not joined a server")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "required"),
        (("fly",), "invalid choice"),
        (("join", "--server", "h"), "--token"),
        (("join", "--server", "h", "--token", "hp_x"), "this is no join token"),
        (("join", "--server", "a b", "--token", f"hpj_{'0' * 64}_secretsecret"), "is no HOST:PORT"),
    ],
)
def test_a_wrong_usage_ends_with_two(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = agent(*arguments, *(("--state-dir", str(tmp_path / "s")) if len(arguments) > 1 else ()))
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_setting_that_cannot_be_right_ends_with_two(tmp_path: Path) -> None:
    done = agent("run", "--state-dir", str(tmp_path), DOCKER_HOST="tcp://10.0.0.1:2375")
    assert done.returncode == 2
    assert "DOCKER_HOST" in done.stderr


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = agent("run", "--state-dir", str(tmp_path / "file" / "state"))
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_record_of_the_log_is_one_line_of_text_or_json() -> None:
    begin = "import logging; from homeport_agent import logging_setup as s; s.begin('{}'); "
    code = begin + "logging.getLogger('x').info('a %s', 'b\\nc')"
    text, document = (
        subprocess.run(
            [sys.executable, "-P", "-c", code.format(kind)], capture_output=True, text=True, check=True
        ).stderr
        for kind in ("text", "json")
    )
    assert text.endswith("Z level=info a b c\n")
    assert json.loads(document)["message"] == "a b\nc"
