"""Where a command stands: its terminal, its questions, and the connection that it may ask for.

Data goes to `out`, everything else to `err`. Without a terminal there is no colour, no wrapping and no question. What it does
not cover: what is shown (`render`, `progress`).
"""

import os
import select
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from homeport_protos.text import one_line
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from homeport_cli.errors import UsageError

if TYPE_CHECKING:
    from homeport import Client

SIGNAL_CHECK_S = 0.2
PIPED_WIDTH = 10_000  # a pipe has no width: nothing is cut or folded for it


@dataclass(frozen=True)
class Terminal:
    out: Console
    err: Console
    interactive: bool  # there is somebody to ask

    def data(self, renderable: RenderableType) -> None:
        """To standard output."""
        _show(self.out, renderable)

    def news(self, renderable: RenderableType, before: str) -> str:
        """To standard output, unless it is letter by letter what `before` was. Returns what it is."""
        text = _text(self.out, renderable)
        if text != before:
            self.data(renderable)
        return text

    def say(self, renderable: RenderableType) -> None:
        """To standard error."""
        _show(self.err, renderable)

    def ask(self, question: str) -> bool:
        """`question [y/n]:` until it is answered; end of input is a no. Only when `interactive`. Raises KeyboardInterrupt."""
        while True:
            self.err.print(f"{question} [y/n]: ", end="", markup=False, highlight=False)
            self.err.file.flush()
            line = _typed_line()
            if not line:
                self.say("")
                return False
            answer = line.strip().lower()
            if answer in {"y", "yes"}:
                return True
            if answer in {"n", "no"}:
                return False

    def confirm(self, question: str, *, yes: bool) -> bool:
        """True with `-y`; else asks. Raises UsageError when there is nobody to ask."""
        if yes:
            return True
        if not self.interactive:
            raise UsageError("this needs a confirmation and the input is not a terminal: pass -y to confirm")
        return self.ask(question)


def terminal() -> Terminal:
    return Terminal(
        out=_console(sys.stdout), err=_console(sys.stderr), interactive=sys.stdin.isatty() and sys.stderr.isatty()
    )


def connect() -> "Client":
    """The API of the configured server; nothing is sent yet. Raises Error."""
    from homeport import Client  # gRPC costs a fifth of a second: only for commands that call

    return Client()


def _typed_line() -> str:
    """What is typed next on the terminal; empty at its end.

    Not sys.stdin.readline: a Ctrl-C that comes in the moment before it blocks would be seen only after the next line.
    """
    while not select.select([sys.stdin], [], [], SIGNAL_CHECK_S)[0]:
        pass
    return os.read(sys.stdin.fileno(), 4096).decode(errors="replace")


def _console(stream: TextIO) -> Console:
    is_terminal = stream.isatty()
    colour = is_terminal and not os.environ.get("NO_COLOR")
    return Console(
        file=stream,
        width=None if is_terminal else PIPED_WIDTH,
        force_terminal=is_terminal,
        no_color=not colour,
        highlight=False,
        soft_wrap=False,
    )


def _show(console: Console, renderable: RenderableType) -> None:
    if isinstance(renderable, str):
        console.print(renderable, markup=False, highlight=False, soft_wrap=True)
        return
    renderable = Tame(renderable)
    if console.is_terminal:
        console.print(renderable)
        return
    # Tables pad their last column; a pipe's reader gets lines without that.
    console.file.writelines(line.rstrip() + "\n" for line in _text(console, renderable).splitlines())
    console.file.flush()


class Tame:
    """A table whose cells hold what hosts and callers said: nothing in it that a terminal would obey."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if segment.control or segment.text.isprintable() or segment.text == "\n":
                yield segment
            else:
                lines = segment.text.split("\n")
                yield Segment("\n".join(one_line(line, len(line)) for line in lines), segment.style)


def _text(console: Console, renderable: RenderableType) -> str:
    with console.capture() as captured:
        console.print(renderable, markup=False, highlight=False)
    return captured.get()
