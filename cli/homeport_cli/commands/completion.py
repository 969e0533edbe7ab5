"""`homeport completion`: the script by which a shell completes commands, flags and the names of runs."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from homeport_cli.commands import verbs
from homeport_cli.main import COMPLETE

app = verbs()


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@app.command("completion")
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="For which shell.", show_default=False)],
) -> None:
    """Print the script that completes commands, flags and names of runs.

    Where it belongs:

    \b
      bash  ~/.local/share/bash-completion/completions/homeport
            or, in ~/.bashrc: source <(homeport completion bash)
      zsh   a file _homeport in a folder of $fpath, such as /usr/local/share/zsh/site-functions
      fish  ~/.config/fish/completions/homeport.fish

    It takes effect in the next shell. Names of runs come from the server, when it answers within a second.
    """
    typer.echo(get_completion_script(prog_name="homeport", complete_var=COMPLETE, shell=shell.value))
