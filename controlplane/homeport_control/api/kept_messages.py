"""Messages that are kept until what they are made of is another: answers show thousands of things of which few have changed."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

M = TypeVar("M")
MOST = 50_000


class KeptMessages(Generic[M]):
    """Of one kind, by id."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Any, ...], M]] = {}

    def of(self, key: str, source: tuple[Any, ...], make: Callable[[], M]) -> M:
        """Never changed by who gets it. `source`: all that `make` uses; quickly compared where its parts are the same values,
        as those of rows that have not changed (store/kept.py)."""
        known = self._known.get(key)
        if known is not None and known[0] == source:
            return known[1]
        if len(self._known) >= MOST:  # of what is gone, too
            self._known.clear()
        made = make()
        self._known[key] = (source, made)
        return made
