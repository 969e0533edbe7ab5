"""The owner's own file of XID codes, laid over the built-in table.

A TOML file, one table per code; each key may be missing, then the built-in one stays:

    [63]
    severity = "failing"   # or "warning", "none"
    action = "call the data centre"
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeport_agent.gpus.model import Severity
from homeport_agent.health.xids import BUILT_IN, UNKNOWN, Table, Xid

SEVERITIES = {"failing": Severity.FAILING, "warning": Severity.WARNING, "none": None}


class BadTable(Exception):
    """One line: which file, what is wrong, what to do."""


def read(path: Path, base: Table = BUILT_IN) -> Table:
    """The built-in table with what the file says. Raises BadTable; a file that is not there says nothing."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return base
    except (OSError, UnicodeDecodeError) as error:
        raise BadTable(f"the XID table {path} cannot be read: {error}; the built-in one is used") from None
    try:
        document = tomllib.loads(text)
        return MappingProxyType({**base, **{_code(key): _row(key, row, base) for key, row in document.items()}})
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise BadTable(f"the XID table {path} is wrong: {error}; the built-in one is used whole") from None


def _code(key: str) -> int:
    if not key.isascii() or not key.isdecimal():
        raise ValueError(f"[{key}] is no XID code, which is a number as in [63]")
    return int(key)


def _row(key: str, row: Any, base: Table) -> Xid:
    if not isinstance(row, dict):
        raise ValueError(f"{key} must be a table: [{key}] and below it severity = … or action = …")
    for name, value in row.items():
        if name not in ("severity", "action", "title"):
            raise ValueError(f"[{key}] has {name!r}; it may have severity, action and title")
        if not isinstance(value, str) or "\n" in value:
            raise ValueError(f"[{key}] {name} must be one line of text")
    known = base.get(_code(key), UNKNOWN)
    if "severity" in row:
        if row["severity"] not in SEVERITIES:
            raise ValueError(f"[{key}] severity is {row['severity']!r}; failing, warning or none")
        # Whoever says how bad it is means each one, not only many of them.
        known = replace(known, severity=SEVERITIES[row["severity"]], often=None)
    return replace(known, title=row.get("title", known.title), action=row.get("action", known.action))
