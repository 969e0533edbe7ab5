"""The progress of many machines at once: drawn over on a terminal, a line per step elsewhere, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.live import Live

from homeport_cli.context import Terminal
from homeport_cli.fleets import show

REFRESHES_PER_S = 8


class Board:
    def __init__(self, terminal: Terminal, names: list[str]) -> None:
        self._terminal = terminal
        self._rows = dict.fromkeys(names, ("pending", "waiting"))
        self._live = (
            Live(show.progress(self._rows), console=terminal.err, refresh_per_second=REFRESHES_PER_S)
            if terminal.err.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn: somebody is asked."""
        if self._live:
            self._live.stop()
        try:
            yield
        finally:
            if self._live:
                self._live.start()

    def step(self, name: str, state: str, text: str) -> None:
        self._rows[name] = (state, text)
        if self._live:
            self._live.update(show.progress(self._rows))
        else:
            self._terminal.say(f"{name}: {text}")
