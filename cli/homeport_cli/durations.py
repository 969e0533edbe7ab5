"""Durations as flags take them: whole seconds, or `30s 5m 2h 3d 1w`. (In documents the server alone reads them.)"""

import re

from homeport_cli.errors import UsageError

_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds(text: str, flag: str) -> float:
    """Raises UsageError that names the flag."""
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhdw]?)", text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{flag}: `{text}` is not a duration; write one such as 30s, 5m, 2h, 3d or 1w")
    return float(int(match[1]) * _UNIT_S[match[2]])
