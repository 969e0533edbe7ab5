"""Becoming another program of Homeport, or reading what one prints. They are started, never imported: the command line
knows nothing of their insides."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from homeport_cli.errors import CliError

PASS_ALL: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

# One library of each extra that nothing else brings in: without it the extra is not installed.
_MARKS = {"server": "sqlalchemy", "agent": "docker"}


def become(module: str, extra: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process (same pid, so that systemd and signals meet the right one). Raises Error."""
    command = _command(module, extra, arguments)
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and meant


def lines_of(module: str, extra: str, arguments: Sequence[str], limit_s: float) -> Iterator[str]:
    """The lines that it prints, as it prints them. Raises Error when it takes longer, or ends with a usage error."""
    command = _command(module, extra, arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        deadline = threading.Timer(limit_s, child.kill)
        deadline.start()
        try:
            yield from child.stdout or ()
            child.wait()
        finally:
            deadline.cancel()
            if child.poll() is None:
                child.kill()
    if child.returncode < 0:
        raise CliError(f"the check of this host did not end within {limit_s:g} s; what it had found stands above")
    if child.returncode not in (0, 1):
        raise CliError(f"the check of this host ended with code {child.returncode}")


def _command(module: str, extra: str, arguments: Sequence[str]) -> list[str]:
    if find_spec(module) is None or find_spec(_MARKS[extra]) is None:
        raise CliError(f"the {extra} is not installed here: run `pip install 'homeport[{extra}]'`")
    # -P: the folder where the caller stands must not decide what is imported.
    return [sys.executable, "-P", "-m", module, *arguments]
