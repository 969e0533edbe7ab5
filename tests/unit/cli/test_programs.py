import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from homeport_cli.errors import CliError
from homeport_cli.programs import become


def test_an_extra_that_is_not_installed_is_one_line_with_what_to_do() -> None:
    with pytest.raises(CliError, match=r"the server is not installed here: .*homeport\[server\]"):
        become("homeport_nowhere", "server", [])


@pytest.mark.parametrize("name", ["server", "agent"])
def test_flags_go_through_to_the_program_help_included(
    program: Callable[..., "subprocess.Popen[bytes]"], name: str
) -> None:
    process = program([name, "--help"])
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.startswith(f"usage: homeport {name}".encode())


def test_the_program_has_the_same_pid_and_is_not_taken_from_the_callers_folder(tmp_path: Path) -> None:
    """systemd, signals and waiting parents must meet the program, and a file that lies around must not become it."""
    (tmp_path / "platform.py").write_text("raise SystemExit('the folder of the caller was imported')")
    script = (
        "from homeport_cli import programs\n"
        "programs._MARKS['site'] = 'typer'\n"
        "import os; print(os.getpid(), flush=True)\n"
        "programs.become('platform', 'site', [])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ""},
        text=True,
    )
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert out.splitlines()[0] == str(process.pid)
    assert "Linux" in out
