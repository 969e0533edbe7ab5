"""`homeport ps`: the runs and their replicas."""

import time
from typing import Annotated

import typer
from rich.live import Live

from homeport_cli import render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal

app = verbs()


@app.command("ps")
def ps(
    finished: Annotated[bool, typer.Option("-a", "--all", help="Also runs that are finished.")] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on, showing each change, until Ctrl-C.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A row for each replica.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The API's own objects; with -w one after each change.")
    ] = False,
) -> None:
    """List runs."""
    screen = terminal()
    with connect() as api:
        if not watch:
            answer = api.list_runs(finished=finished)
            if as_json:
                screen.data(render.json_text(answer))
            else:
                screen.data(render.runs(answer.runs, time.time(), verbose=verbose))
            return
        is_drawn = screen.out.is_terminal and not as_json
        with Live(console=screen.out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as picture:
            for answer in api.watch_runs(finished=finished, on_trouble=screen.say):
                if as_json:
                    screen.data(render.json_text(answer))
                elif is_drawn:
                    picture.update(render.runs(answer.runs, time.time(), verbose=verbose), refresh=True)
                else:
                    screen.data(render.runs(answer.runs, time.time(), verbose=verbose))
                    screen.data("")
