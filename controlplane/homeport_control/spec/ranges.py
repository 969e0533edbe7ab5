"""Ranges `a..b`: the value, how it is read, how it is shown. The unit is the reader's, given as a function."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from homeport_control.spec.problems import Mistake, quoted

Number = TypeVar("Number", int, float)

_DOTS = re.compile(r"\.{2,}")


@dataclass(frozen=True)  # no slots: with them `Range[int](2, None)` cannot be called
class Range(Generic[Number]):
    """Both ends count; None leaves an end open."""

    min: Number | None = None
    max: Number | None = None

    def __contains__(self, value: Number) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    @property
    def is_exact(self) -> bool:
        return self.min is not None and self.min == self.max


def parse_range(value: object, parse: Callable[[object], Number], what: str = "range") -> Range[Number]:
    """Read `a..b`, `a..`, `..b`, a scalar (exact) or `{min, max}`. Raises Mistake for `..`, `3..1` and `1...3`."""
    if isinstance(value, Range):
        return value
    low: object
    high: object
    if isinstance(value, Mapping):
        unknown = sorted(str(key) for key in value if key not in ("min", "max"))
        if unknown:
            raise Mistake(f"unknown key {quoted(unknown[0])} in a {what}", "A range has `min` and `max`")
        low, high = value.get("min"), value.get("max")
    elif isinstance(value, str) and ".." in value:
        if [len(dots) for dots in _DOTS.findall(value)] != [2]:
            raise Mistake(f"{quoted(value)} is not a {what}", "Write `a..b`, `a..` or `..b`, with two dots")
        left, right = (end.strip() for end in value.split(".."))
        low, high = left or None, right or None
    else:
        exact = parse(value)
        return Range(exact, exact)
    if low is None and high is None:
        raise Mistake(f"{quoted(value)} is an empty {what}", "Give at least one end: `a..` or `..b`")
    least = None if low is None else parse(low)
    most = None if high is None else parse(high)
    if least is not None and most is not None and least > most:
        raise Mistake(f"{quoted(value)} is an empty {what}", "The first end must not be larger than the second")
    return Range(least, most)


def range_text(value: Range[Number], text: Callable[[Number], str]) -> str:
    """`2`, `2..`, `..8`, `2..8`: what `parse_range` reads."""
    if value.min is not None and value.is_exact:
        return text(value.min)
    low = "" if value.min is None else text(value.min)
    high = "" if value.max is None else text(value.max)
    return f"{low}..{high}"
