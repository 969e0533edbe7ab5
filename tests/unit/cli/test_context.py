"""context: what hosts and callers said stands in a table as text; a terminal obeys none of it."""

import io

import pytest
from homeport_cli.columns import Quick
from homeport_cli.context import _show
from rich.console import Console
from rich.text import Text


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;owned\x07", "a\x9b31m", "\u202etxt.exe", "two\r1"])
def test_a_table_shows_what_a_terminal_would_obey(evil: str, is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100, no_color=True, highlight=False)
    table = Quick("NAME", "REASON")
    table.add_row(Text("gpu-1", style="green"), Text(evil))
    table.add_row(Text("gpu-2"), Text("all is well"))
    _show(console, table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "all is well" in shown
    if is_terminal:  # its own words for colours are the only ones
        shown = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[32m", "")
    assert all(line.isprintable() for line in shown.splitlines()), repr(shown)
