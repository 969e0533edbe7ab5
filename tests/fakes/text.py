"""Renderables as the text that a pipe, or a terminal of some width, would get."""

import io

from rich.console import Console, RenderableType


def lines(renderable: RenderableType, width: int = 1000) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(renderable)
    return [line.rstrip() for line in captured.get().splitlines()]
