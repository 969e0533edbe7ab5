"""Becoming another program of Homeport. They are started, never imported: the command line knows nothing of their insides."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from homeport_cli.errors import CliError

PASS_ALL: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

# One library of each extra that nothing else brings in: without it the extra is not installed.
_MARKS = {"server": "sqlalchemy", "agent": "docker"}


def become(module: str, extra: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process (same pid, so that systemd and signals meet the right one). Raises CliError."""
    if find_spec(module) is None or find_spec(_MARKS[extra]) is None:
        raise CliError(f"the {extra} is not installed here: run `pip install 'homeport[{extra}]'`")
    sys.stdout.flush()
    # -P: the folder where the caller stands must not decide what is imported.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell, and meant
