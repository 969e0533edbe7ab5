"""What a page shows now, in parts, and since when each part is as it is. Pure but for its memory.

A Board has parts that change in their place, as hosts and services; a Tail only grows at one end, as logs and events.
`since` gives what a viewer who has seen a version lacks, as fragments that htmx puts in their places; all viewers who have
seen the same get the same text, which is made once.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Page(Protocol):
    """What a hub shows."""

    @property
    def version(self) -> int: ...

    @property
    def is_filled(self) -> bool: ...

    def since(self, seen: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One part: `key` is its element's id, `kind` the template that draws it, `cell` what it says."""

    key: str
    kind: str
    cell: Hashable


@dataclass(slots=True)
class _Part:
    cell: Hashable
    html: str
    version: int


Draw = Callable[[str, str, Hashable], str]  # kind, key, cell -> HTML


class Board:
    """`compose(html by key)` is the inside of the element `container`, in which the parts lie."""

    def __init__(self, container: str, draw: Draw) -> None:
        self._container = container
        self._draw = draw
        self._parts: dict[str, _Part] = {}
        self._structure: Hashable = None
        self._inside = ""  # of the container, when it was last asked for
        self._inside_version = -1
        self._compose: Callable[[Callable[[str], str]], str] = lambda _html: ""
        self._reset_version = 0
        self._version = 0
        self._made: tuple[int, int, str] = (-1, -1, "")

    @property
    def version(self) -> int:
        return self._version

    @property
    def is_filled(self) -> bool:
        return self._structure is not None

    def put(self, structure: Hashable, items: Sequence[Item], compose: Callable[[Callable[[str], str]], str]) -> bool:
        """What is there now. `structure`: which parts lie in the container, in which order. Whether anything is another."""
        version = self._version + 1
        is_other = False
        parts: dict[str, _Part] = {}
        for item in items:
            part = self._parts.get(item.key)
            if part is None or (part.cell is not item.cell and part.cell != item.cell):
                html = self._draw(item.kind, item.key, item.cell)
                if part is None or part.html != html:
                    part, is_other = _Part(item.cell, html, version), True
                else:
                    part.cell = item.cell
            parts[item.key] = part
        if structure != self._structure:
            self._structure, self._reset_version, is_other = structure, version, True
        self._parts, self._compose = parts, compose
        if is_other:
            self._version = version
        return is_other

    def html(self, key: str) -> str:
        part = self._parts.get(key)
        return part.html if part else ""

    def inside(self) -> str:
        """Of the container, for a page that is drawn whole."""
        if self._inside_version != self._version:
            self._inside, self._inside_version = self._compose(self.html), self._version
        return self._inside

    def since(self, seen: int) -> str:
        if self._made[:2] == (seen, self._version):
            return self._made[2]
        if seen < self._reset_version:
            outside = "".join(part.html for key, part in self._parts.items() if key.startswith("top-"))
            text = f'<div id="{self._container}" hx-swap-oob="innerHTML">{self.inside()}</div>{outside}'
        else:
            text = "".join(part.html for part in self._parts.values() if part.version > seen)
        self._made = (seen, self._version, text)
        return text


class Tail:
    """Pieces in the order in which they came, the last so many; `at_begin`: the newest stands first on the page."""

    def __init__(self, container: str, most: int, *, at_begin: bool = False) -> None:
        self._container = container
        self._at_begin = at_begin
        self._pieces: deque[tuple[int, str]] = deque(maxlen=most)
        self._version = 0
        self._begin = 0  # who has seen less gets the whole
        self._is_filled = False

    @property
    def version(self) -> int:
        return self._version

    @property
    def is_filled(self) -> bool:
        return self._is_filled

    def reset(self) -> None:
        """It is read anew from another place."""
        self._pieces.clear()
        self._version += 1
        self._begin = self._version

    def fill(self) -> None:
        """It is known what there was; maybe nothing."""
        self._is_filled = True

    def add(self, pieces: Sequence[str]) -> None:
        self._version += 1
        self._is_filled = True
        for piece in pieces:
            self._pieces.append((self._version, piece))

    def inside(self) -> str:
        pieces = [html for _, html in self._pieces]
        return "".join(reversed(pieces) if self._at_begin else pieces)

    def since(self, seen: int) -> str:
        lost = bool(self._pieces) and self._pieces[0][0] > seen + 1
        if seen < self._begin or lost:
            return f'<div id="{self._container}" hx-swap-oob="innerHTML">{self.inside()}</div>'
        new = [html for version, html in self._pieces if version > seen]
        if not new:
            return ""
        how = "afterbegin" if self._at_begin else "beforeend"
        inside = "".join(reversed(new) if self._at_begin else new)
        return f'<div hx-swap-oob="{how}:#{self._container}">{inside}</div>'
