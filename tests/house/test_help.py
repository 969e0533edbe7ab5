"""`--help` is a manual page: every command says what it does, shows lines to copy, and explains each of its flags."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from homeport_cli.examples import EXAMPLES
from homeport_cli.main import SECTIONS, VERBS, app

OTHER_PROGRAMS = {"server", "agent"}  # their `--help` is their own
ROOT = typer.main.get_command(app)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words by which it is called."""

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
        for name, child in (inner or {}).items():
            yield from below(f"{path} {name}", child)

    for verb in VERBS:
        if verb not in OTHER_PROGRAMS:
            yield from below(verb, ROOT.get_command(None, verb))  # type: ignore[attr-defined]


COMMANDS = dict(commands())


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_the_verb_itself_says(verb: str) -> None:
    (listed,) = [section[verb] for section in SECTIONS.values() if verb in section]
    command = ROOT.get_command(None, verb)  # type: ignore[attr-defined]
    assert " ".join(command.help.split("\n\n")[0].split()) == listed


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_says_what_it_does_and_shows_how(path: str) -> None:
    assert COMMANDS[path].help
    assert path in EXAMPLES, "add lines to homeport_cli/examples.py"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_flag_and_argument_is_explained(path: str) -> None:
    silent = [param.name for param in COMMANDS[path].params if param.name != "help" and not param.help]
    assert silent == []


@pytest.mark.parametrize(("path", "line"), [(path, line) for path, lines in EXAMPLES.items() for line, _ in lines])
def test_every_example_can_be_typed(path: str, line: str) -> None:
    program, *words = shlex.split(
        line.partition(" | ")[0].partition(" > ")[0].removeprefix("source <(").removeprefix("sudo ").rstrip(")")
    )
    assert program == "homeport"
    assert words[: len(path.split())] == path.split()
    context = COMMANDS[path].make_context(path, words[len(path.split()) :], resilient_parsing=False)
    context.close()
