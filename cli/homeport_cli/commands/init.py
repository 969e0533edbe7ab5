"""`homeport init`: a first configuration to change."""

from pathlib import Path
from typing import Annotated

import typer

from homeport_cli import starter
from homeport_cli.commands import verbs
from homeport_cli.context import terminal

app = verbs()


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; it is made when it is not there.")] = Path(),
) -> None:
    """Write a starter configuration, service.homeport.yml.

    It never overwrites a file. Everything that a service can have stands in it, most of it as a comment.
    """
    screen = terminal()
    file = starter.write(folder)
    screen.data(str(file))
    for line in starter.next_steps(file):
        screen.say(line)
