"""NVIDIA's own nvml.h, from its package of headers: what our numbers and prototypes are checked against."""

import re
from importlib.metadata import files
from pathlib import Path

_DEFINE = re.compile(r"^#define\s+(\w+)\s+(0x[0-9A-Fa-f]+|\d+)(?:[uUlL]*)\b", re.MULTILINE)


def header() -> Path:
    (found,) = (it for it in files("nvidia-nvml-dev-cu12") or () if it.name == "nvml.h")
    return Path(str(found.locate()))


def enumerated(name: str) -> int:
    """The number that one of its enumerations gives a name."""
    (value,) = set(re.findall(rf"^\s*{name}\s*=\s*(\d+)", header().read_text(), re.MULTILINE))
    return int(value)


def constants() -> dict[str, int]:
    """The numbers that it defines, by name."""
    return {name: int(value, 0) for name, value in _DEFINE.findall(header().read_text())}
