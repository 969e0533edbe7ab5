"""Values made of rows, kept by id until their row differs: a loop reads thousands of them at each turn, few have changed."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
MOST = 50_000


class Kept(Generic[T]):
    """Rows are plain tuples of the database's own values; what is made of them must never be changed by who gets it."""

    def __init__(self, make: Callable[[tuple[Any, ...]], T]) -> None:
        self._make = make
        self._known: dict[Hashable, tuple[tuple[Any, ...], T]] = {}

    def of(self, key: Hashable, row: tuple[Any, ...]) -> T:
        known = self._known.get(key)
        if known is not None and known[0] == row:
            return known[1]
        if len(self._known) >= MOST:  # of rows that are gone, too
            self._known.clear()
        made = self._make(row)
        self._known[key] = (row, made)
        return made
