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
from homeport import Error

from homeport_cli.errors import exit_code
from homeport_cli.examples import show_examples

# Their first lines stand here too, so that `homeport --help` imports none of them; tests/house holds the two together.
SECTIONS = {
    "Services": {
        "apply": "Apply a configuration: a new run, or an update in place of the one that runs.",
        "ps": "List runs.",
        "logs": "Print a run's logs, also those of replicas that have ended.",
        "attach": "Follow a run until it ends: its progress, then its logs. Ctrl-C asks whether to stop it.",
        "metrics": "Show what a run's replicas use now: processor, memory, GPUs, requests.",
        "usage": "Show who called what: requests, and the tokens that models counted.",
        "rollback": "Go back to the revision before the present one, make before break.",
        "stop": "Stop runs: drain, then SIGTERM, then SIGKILL after the run's stop_duration.",
        "delete": "Delete what a file describes: a service is stopped, a fleet's hosts are taken out, a gateway goes.",
        "event": "List what changed, who did it, and what it followed from. Kept for 30 days.",
    },
    "Machines": {
        "fleet": "The hosts that run services.",
        "gateway": "The gateways that publish services.",
        "top": "Show all GPUs live: memory, load, temperature, health, who holds them. Once when it is piped.",
        "offer": "List the hosts on which something could run, and why it could not on the others.",
        "bundle": "Make one file with the agent and all that it needs, for hosts that reach no package registry.",
    },
    "Access": {
        "login": "Remember a server and a token, after both have been verified.",
        "token": "Tokens of users and services.",
        "user": "Users: who may log in, and as what.",
    },
    "Processes": {
        "image": "The default image of services that name none.",
        "server": "Run the server: `homeport server --help` lists its flags.",
        "agent": "Run the agent of this host: `homeport agent --help` lists its flags.",
    },
    "Writing files": {
        "init": "Write a starter configuration, service.homeport.yml.",
        "schema": "Print the JSON schema of configuration files, for editors.",
    },
    "This program": {
        "doctor": "Check everything between this machine and a published service.",
        "completion": "Print the script that completes commands, flags and names of runs.",
        "version": "Print the version.",
    },
}
VERBS = tuple(verb for section in SECTIONS.values() for verb in section)
ENDINGS = """\b
Exit codes:
  0    done
  1    the work failed: the last line on standard error says why
  2    usage: a flag, a file or a configuration is wrong; nothing was changed
  130  Ctrl-C
  141  the reader of the output went away

\b
Settings:
  HOMEPORT_CONFIG  the file that `homeport login` writes
  HOMEPORT_SERVER, HOMEPORT_TOKEN, HOMEPORT_CA  win over its values
  NO_COLOR         no colours
"""
INTERRUPTED = 130
COMPLETE = "_HOMEPORT_COMPLETE"  # set by the scripts of `homeport completion`: say what could stand here, and end
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

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(section.items()))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        lines = {verb: line for section in SECTIONS.values() for verb, line in section.items()}
        found = [verb for verb in VERBS if verb.startswith(incomplete)]
        item = typer.core.CompletionItem  # type: ignore[attr-defined]
        return [item(verb, help=lines[verb]) for verb in found]

    def _load(self, name: str) -> None:
        if name not in self.commands:
            command = typer.main.get_command(import_module(f"homeport_cli.commands.{name}").app)
            command.name = name
            show_examples(command, name)
            self.commands[name] = command

    def invoke(self, ctx: Any) -> Any:
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except Error as error:
            for line in (f"Error: {error}", *error.details):
                typer.echo(line, err=True)
            raise typer.Exit(exit_code(error)) from None
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


@app.callback(epilog=ENDINGS)
def homeport() -> None:
    """Services on GPU machines that you own.

    Apply a file that describes a web application or a model: it runs as containers on your hosts, behind one address
    with authentication. Start with `homeport init`, then `homeport apply`.
    """


def main() -> None:
    """Run one command and end the process at once.

    Taking the interpreter and gRPC down in order takes 30 ms of each command and frees nothing that the kernel would
    not (mypy ends the same way, `util.hard_exit`). Channels are closed by then, and the streams are flushed here.
    """
    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        app(prog_name="homeport")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
