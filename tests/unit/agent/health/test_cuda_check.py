"""The check's own words, as a command. What it finds: test_check, with a library behind it."""

import subprocess
import sys

from homeport_agent.health.cuda_check import PTX


def test_without_a_gpu_it_says_how_it_is_called() -> None:
    command = [sys.executable, "-P", "-m", "homeport_agent.health.cuda_check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "UUID" in done.stderr


def test_its_program_ends_with_a_zero_as_the_driver_wants_it() -> None:
    assert PTX.endswith(b"}\n\0")
    assert PTX.count(b"\0") == 1
