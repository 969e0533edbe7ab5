"""Which build of the agent this is: what the server's install script wrote into its virtual environment."""

import sys
from pathlib import Path

NAME = "homeport-build"


def this_build(prefix: Path | None = None) -> str:
    """12 hex digits; empty when the agent was not installed by the script."""
    try:
        return ((prefix or Path(sys.prefix)) / NAME).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
