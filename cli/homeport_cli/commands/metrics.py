"""`homeport metrics`: what the replicas of a run use."""

from typing import Annotated

import typer
from rich.live import Live

from homeport_cli.commands import verbs
from homeport_cli.completing import run_names
from homeport_cli.context import connect, terminal
from homeport_cli.usage import json_line, usage

app = verbs()


@app.command("metrics")
def metrics(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.", autocompletion=run_names)],
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on every 2 seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own objects, one per line.")] = False,
) -> None:
    """Show what a run's replicas use now: processor, memory, GPUs, requests."""
    screen = terminal()
    with connect() as api:
        answers = api.watch_metrics(name, on_notice=screen.say) if watch else [api.metrics(name)]
        if as_json:
            for answer in answers:
                screen.data(json_line(answer))
        elif not watch or not screen.out.is_terminal:
            for answer in answers:
                screen.data(usage(name, answer, screen.out.width))
        else:
            with Live(console=screen.out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as picture:
                for answer in answers:
                    picture.update(usage(name, answer, screen.out.width), refresh=True)
