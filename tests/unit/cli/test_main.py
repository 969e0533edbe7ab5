import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from homeport_cli.main import VERBS
from typer.testing import Result

Homeport = Callable[..., Result]


def test_every_verb_has_a_line_of_help_and_help_of_its_own(homeport: Homeport) -> None:
    listed = homeport("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in listed
        if verb not in {"server", "agent"}:  # those are other programs: test_programs
            assert homeport(verb, "-h").exit_code == 0


def test_a_verb_that_is_misspelt_gets_a_suggestion(homeport: Homeport) -> None:
    done = homeport("aply")
    assert done.exit_code == 2
    assert "apply" in done.stderr


@pytest.mark.parametrize("arguments", [["ps", "--nonsense"], ["stop"], ["logs"], ["token", "create"], ["fleet", "x"]])
def test_wrong_usage_is_2(homeport: Homeport, arguments: list[str]) -> None:
    done = homeport(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["ps"], ["stop", "x", "-y"], ["logs", "x"], ["fleet", "list"], ["token", "list"]]
)
def test_who_is_not_logged_in_is_told_how(homeport: Homeport, arguments: list[str]) -> None:
    done = homeport(*arguments)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: not logged in")
    assert "homeport login" in line


def test_an_interrupt_ends_with_130_and_no_traceback(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys, homeport_cli.commands.version as v\n"
        "from homeport_cli.main import app\n"
        "def interrupted(name): raise KeyboardInterrupt\n"
        "v.version = interrupted\n"
        "app(['version'])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_goes_away_is_not_an_error_of_ours(
    program: Callable[..., "subprocess.Popen[bytes]"],
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = program(["version"], stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 141
    assert errors == b""


def test_version_loads_neither_grpc_nor_yaml_nor_rich() -> None:
    script = (
        "import sys\nfrom homeport_cli.main import app\n"
        "try: app(['version'])\nexcept SystemExit: pass\n"
        "print([name for name in ('grpc', 'yaml', 'rich', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
