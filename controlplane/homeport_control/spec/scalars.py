"""Single values of the language: whole numbers, numbers, yes or no, durations, memory. Read and shown, no pydantic.

A parser takes what JSON may hold and raises Mistake. Booleans are never numbers; numbers are never text. Text that
spells a number or a boolean is taken, because the command line sends a scalar as it is written when JSON would change
it.
"""

import math
import re

from homeport_control.spec.problems import Mistake, quoted

MAX_WHOLE = 1_000_000_000
MAX_MEMORY_MIB = 1024**3  # 1 PiB; keeps sums far from 64 bits
MAX_DURATION_S = 100 * 365 * 86400

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_DURATION = re.compile(r"([0-9]{1,12})\s*(s|sec|m|min|h|d|w)", re.IGNORECASE)
_DURATION_UNITS_S = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_MEMORY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(mb|gb|tb)?", re.IGNORECASE)
_MEMORY_UNITS_MIB = {"mb": 1, "gb": 1024, "tb": 1024 * 1024}
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_DURATION_HINT = "Write whole seconds, or `30s`, `5m`, `2h`, `3d`, `1w`"
_MEMORY_HINT = "Write it like `512MB`, `16GB` or `1TB`; a bare number is GB"


def whole(value: object, least: int = 0, most: int = MAX_WHOLE) -> int:
    """A whole number between `least` and `most`."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Mistake(f"must be a whole number, not {quoted(value)}")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise Mistake(f"must be {bound}")
    return value


def number(value: object, least: float = 0.0, most: float = 1e12) -> float:
    """A finite number between `least` and `most`."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mistake(f"must be a number, not {quoted(value)}")
    # Compare before float(): an int of JSON may be too large for it.
    if not least <= value <= most:
        if isinstance(value, float) and math.isnan(value):
            raise Mistake("must be a number")
        raise Mistake(f"must be {f'at least {least:g}' if value < least else f'at most {most:g}'}")
    return float(value)


def yes_or_no(value: object) -> bool:
    """true or false; also `on`, `off`, `yes`, `no` as YAML 1.1 has them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise Mistake(f"must be true or false, not {quoted(value)}")


def is_off(value: object) -> bool:
    """`off`, however YAML has read it."""
    return value is False or (isinstance(value, str) and value.strip().lower() in {"off", "false"})


def duration_s(value: object, least_s: int = 0) -> int:
    """Seconds of `90`, `30s`, `5m`, `2h`, `3d`, `1w`. Raises Mistake for `off`: see `duration_or_off_s`."""
    if is_off(value):
        raise Mistake("must be a duration; it cannot be off", _DURATION_HINT)
    seconds: int
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = int(match[1]) * _DURATION_UNITS_S[match[2].lower()]
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        seconds = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        raise Mistake(f"{quoted(value)} is not a duration", _DURATION_HINT)
    if seconds < least_s:
        raise Mistake(f"must be at least {duration_text(least_s)}")
    if seconds > MAX_DURATION_S:
        raise Mistake("must be at most 100 years")
    return seconds


def duration_or_off_s(value: object, least_s: int = 0) -> int | None:
    """As `duration_s`; None for `off`."""
    return None if value is None or is_off(value) else duration_s(value, least_s)


def duration_text(seconds: int | None) -> str:
    """The largest unit that divides it: 300 as `5m`, None as `off`."""
    if seconds is None:
        return "off"
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _DURATION_UNITS_S[unit] == 0:
            return f"{seconds // _DURATION_UNITS_S[unit]}{unit}"
    return f"{seconds}s"


def parse_memory_mib(value: object) -> int:
    """MiB of `512MB`, `16 GB`, `1tb`, `24` (GB). Fractions are rounded to the nearest MiB."""
    if isinstance(value, str) and (match := _MEMORY.fullmatch(value.strip())):
        amount, unit = float(match[1]), (match[2] or "gb").lower()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        amount, unit = number(value, most=MAX_MEMORY_MIB), "gb"
    else:
        raise Mistake(f"{quoted(value)} is not an amount of memory", _MEMORY_HINT)
    mib = amount * _MEMORY_UNITS_MIB[unit]
    if mib > MAX_MEMORY_MIB:
        raise Mistake(f"must be at most {memory_text(MAX_MEMORY_MIB)}")
    if round(mib) < 1:
        raise Mistake("must be at least 1MB", _MEMORY_HINT)
    return round(mib)


def memory_text(mib: int) -> str:
    """`512MB`, `24GB`, `1TB`: the largest unit that divides it, which `parse_memory_mib` reads back."""
    for unit in ("tb", "gb"):
        if mib and mib % _MEMORY_UNITS_MIB[unit] == 0:
            return f"{mib // _MEMORY_UNITS_MIB[unit]}{unit.upper()}"
    return f"{mib}MB"


def memory_or_off_mib(value: object) -> int | None:
    """As `parse_memory_mib`; None for `off`."""
    return None if value is None or is_off(value) else parse_memory_mib(value)


def memory_or_off_text(mib: int | None) -> str:
    return "off" if mib is None else memory_text(mib)
