"""`homeport`: which verbs there are, and how each of them ends.

A verb's module is imported only when the verb is named: `homeport version` never pays for gRPC. Endings: 0 done, 1 the work
failed, 2 usage, 130 Ctrl-C, 141 the reader of our output went away. See also `errors`, which words the failures.
"""

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from homeport_cli.errors import CliError

VERBS = ("apply", "ps", "stop", "logs", "delete", "login", "fleet", "token", "server", "agent", "version")
INTERRUPTED = 130
OUTPUT_CLOSED = 141  # what a shell says of a program that died of SIGPIPE


class Verbs(typer.core.TyperGroup):
    """A group whose commands are modules, imported on demand; the one place where errors become endings."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in VERBS:
            self._load(cmd_name)
        else:
            for name in VERBS:  # a typing error: the suggestion needs every name
                self._load(name)
        return self.commands.get(cmd_name)

    def _load(self, name: str) -> None:
        if name not in self.commands:
            command = typer.main.get_command(import_module(f"homeport_cli.commands.{name}").app)
            command.name = name
            self.commands[name] = command

    def invoke(self, ctx: Any) -> Any:
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except CliError as error:
            for line in (f"Error: {error}", *error.details):
                typer.echo(line, err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Python flushes once more at its end; let that go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OUTPUT_CLOSED) from None
        return answer


app = typer.Typer(
    cls=Verbs,
    name="homeport",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def homeport() -> None:
    """Services on GPU machines that you own."""


def main() -> None:
    """Run one command and end the process at once.

    Taking the interpreter and gRPC down in order takes 30 ms of each command and frees nothing that the kernel would
    not (mypy ends the same way, `util.hard_exit`). Channels are closed by then, and the streams are flushed here.
    """
    try:
        app(prog_name="homeport")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
