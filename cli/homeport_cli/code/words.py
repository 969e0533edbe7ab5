"""How files are named to a user, whatever bytes their names have."""

from collections.abc import Iterable

SHOWN = 5  # names in one error; then their number


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
