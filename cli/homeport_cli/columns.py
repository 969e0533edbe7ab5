"""Tables: which columns a narrow terminal gets (whole columns go before words are cut in two), and a quick way to draw them.

What it does not cover: what stands in the cells (`render`, `cards`).
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

GAP = 2  # between two columns


def kept(heads: Sequence[str], rows: Sequence[Sequence[Text]], width: int, spare: Sequence[str]) -> list[int]:
    """The places of the columns to show; those of `spare` go in its order until the rest fits `width`, or none is left."""
    places = list(range(len(heads)))
    for head in (*spare, ""):
        needed = sum(max([len(heads[place]), *(row[place].cell_len for row in rows)]) for place in places)
        if needed + GAP * (len(places) - 1) <= width:
            break
        places = [place for place in places if heads[place] != head or not head]
    return places


class Quick(Table):
    """Rich's table, drawn ten times as fast where nothing has to fold: `ps` of 1,000 runs must not be a second of drawing."""

    def __init__(self, *heads: str, show_header: bool = True) -> None:
        super().__init__(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=show_header, header_style="bold")
        self._heads = heads
        self._lines: list[Sequence[RenderableType | None]] = []

    def add_row(self, *renderables: RenderableType | None, **more: object) -> None:
        self._lines.append(renderables)
        super().add_row(*renderables, **more)  # type: ignore[arg-type]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [[Text(head, style="bold") for head in self._heads]] if self.show_header else []
        for line in self._lines:
            cells = [Text(cell) if cell == "" else cell for cell in line]
            plain = [cell for cell in cells if isinstance(cell, Text) and not cell.spans and "\n" not in cell.plain]
            if len(plain) < len(self._heads):
                return super().__rich_console__(console, options)
            lines.append(plain)
        widths = [max((line[place].cell_len for line in lines), default=0) for place in range(len(self._heads))]
        if sum(widths) + GAP * (len(widths) - 1) > options.max_width:
            return super().__rich_console__(console, options)
        return self._drawn(console, lines, widths)

    @staticmethod
    def _drawn(console: Console, lines: Sequence[Sequence[Text]], widths: Sequence[int]) -> Iterator[Segment]:
        end = Segment.line()
        for line in lines:
            for cell, width in zip(line, widths, strict=True):
                if cell.plain:
                    yield Segment(cell.plain, console.get_style(cell.style) if cell.style else None)
                if cell is not line[-1]:
                    yield Segment(" " * (width - cell.cell_len + GAP))
            yield end
