"""How files and their sizes are named to a user, whatever bytes their names have."""

from collections.abc import Iterable

SHOWN = 5  # names in one error; then their number
NO_CODE = "pass --no-repo (Python: repo=False)"


def shown(path: str) -> str:
    """One line, nothing that a terminal would obey: "a\\nb" for a line feed in it."""
    if path.isprintable():
        return path
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in path)


def counted(count: int, thing: str) -> str:
    """ "1 file", "3 files"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(lines: Iterable[str], indent: str = "  ") -> list[str]:
    """The first few, indented, and how many there are besides."""
    known = list(lines)
    more = [f"{indent}and {len(known) - SHOWN} more"] if len(known) > SHOWN else []
    return [f"{indent}{line}" for line in known[:SHOWN]] + more


def size(count: int) -> str:
    """Bytes as people say them, decimal as registries and Docker count: "1.2GB"."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, bigger
    return f"{value:.1f}{unit}" if unit in {"GB", "TB"} and value < 100 else f"{value:.0f}{unit}"
