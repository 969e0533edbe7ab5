"""Long lists for SQL's `IN`: a database takes so many parameters in one statement and no more."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
LONGEST = 500  # SQLite's bound was 999 for long; one more statement per 500 rows costs nothing


def chunks(values: Iterable[T], longest: int = LONGEST) -> Iterator[list[T]]:
    """All values, each once, in pieces that one statement takes; none for no values."""
    left = list(dict.fromkeys(values))
    for start in range(0, len(left), longest):
        yield left[start : start + longest]
